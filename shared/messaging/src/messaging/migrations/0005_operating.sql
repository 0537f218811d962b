-- What a person needs to see and to act on what is set aside, and topics that are stopped. `fault` marks what our own code
-- failed on; of a value that is too large to keep, its size and its keyed hash stay.
ALTER TABLE messaging.parked
    ADD COLUMN type text, ADD COLUMN path text, ADD COLUMN size bigint, ADD COLUMN digest text,
    ADD COLUMN fault boolean NOT NULL DEFAULT false;
CREATE INDEX parked_faults ON messaging.parked (topic, at) WHERE fault;

-- Why a timer failed. One that failed too often has `not_before` infinity: it waits for a person.
ALTER TABLE messaging.timer ADD COLUMN reason text;
CREATE INDEX timer_halted ON messaging.timer (kind, subject) WHERE not_before = 'infinity';

-- Topics that no replica reads on while `since` stands; faults before `counted_from` do not count.
CREATE TABLE messaging.stop (
    topic        text PRIMARY KEY,
    since        timestamptz,
    faults       integer NOT NULL DEFAULT 0,
    counted_from timestamptz NOT NULL DEFAULT '-infinity'
);

-- As before, and what operators ask for: due (a head is tried again), move (what can be read after all goes to its lane), resume
-- (a stopped topic is read on). A record declared independent leaves its lane when it is parked, and faults may stop their topic.
CREATE OR REPLACE FUNCTION messaging.park(
    at timestamptz, parked jsonb, p_value bytea[], s_kind text[], s_subject text[], lost int[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    released jsonb := coalesce(parked -> 'drop', '[]') || coalesce(parked -> 'leave', '[]');
BEGIN
    INSERT INTO messaging.parked (outcome, kind, subject, source, id, type, reason, path, topic, part, position, headers, value,
                                  size, digest, fault, at, retry_at, gives_up_at)
    SELECT outcome, s_kind[state], s_subject[state], source, id, type, reason, path, topic, part, position, headers, p_value[nr],
           size, digest, coalesce(fault, false), at, retry_at, gives_up_at
      FROM jsonb_to_recordset(parked -> 'add') AS p (nr int, state int, outcome text, source text, id text, type text,
           reason text, path text, topic text, part int, position bigint, headers jsonb, size bigint, digest text, fault boolean,
           retry_at timestamptz, gives_up_at timestamptz)
     WHERE state <> ALL (lost) ORDER BY nr ON CONFLICT (source, id) DO NOTHING;
    UPDATE messaging.parked p
       SET attempts = p.attempts + 1, outcome = k.outcome, reason = k.reason, path = k.path, retry_at = k.retry_at
      FROM jsonb_to_recordset(parked -> 'keep') AS k (state int, n bigint, outcome text, reason text, path text,
           retry_at timestamptz)
     WHERE p.n = k.n AND k.state <> ALL (lost);
    UPDATE messaging.parked p
       SET attempts = p.attempts + 1, outcome = k.outcome, reason = k.reason, path = k.path, kind = NULL, subject = NULL
      FROM jsonb_to_recordset(parked -> 'leave') AS k (state int, n bigint, outcome text, reason text, path text)
     WHERE p.n = k.n AND k.state <> ALL (lost);
    UPDATE messaging.parked p
       SET kind = s_kind[m.state], subject = s_subject[m.state], source = m.source, id = m.id, type = m.type, outcome = 'waiting',
           retry_at = park.at, gives_up_at = m.gives_up_at
      FROM jsonb_to_recordset(parked -> 'move') AS m (state int, n bigint, source text, id text, type text,
           gives_up_at timestamptz)
     WHERE p.n = m.n AND m.state <> ALL (lost);
    UPDATE messaging.parked p SET outcome = 'waiting', retry_at = park.at
      FROM jsonb_to_recordset(parked -> 'due') AS d (state int, n bigint) WHERE p.n = d.n AND d.state <> ALL (lost);
    DELETE FROM messaging.parked p USING jsonb_to_recordset(parked -> 'drop') AS d (state int, n bigint)
     WHERE p.n = d.n AND d.state <> ALL (lost);
    UPDATE messaging.parked p SET retry_at = park.at FROM jsonb_to_recordset(released) AS d (state int, source text)
     WHERE p.outcome = 'waiting' AND p.kind = s_kind[d.state] AND p.subject = s_subject[d.state] AND p.source = d.source
       AND d.state <> ALL (lost);
    UPDATE messaging.state s SET blocked = s.blocked - emptied.sources
      FROM (SELECT state, array_agg(source) AS sources
              FROM jsonb_to_recordset(released) AS d (state int, source text)
             WHERE state <> ALL (lost) AND NOT EXISTS (
                   SELECT FROM messaging.parked p
                    WHERE p.kind = s_kind[d.state] AND p.subject = s_subject[d.state] AND p.source = d.source)
             GROUP BY state) emptied
     WHERE s.kind = s_kind[emptied.state] AND s.subject = s_subject[emptied.state];
    UPDATE messaging.parked p SET retry_at = park.at FROM jsonb_to_recordset(parked -> 'wake') AS w (state int)
     WHERE p.outcome = 'waiting' AND p.kind = s_kind[w.state] AND p.subject = s_subject[w.state] AND w.state <> ALL (lost);
    UPDATE messaging.stop s SET since = NULL, counted_from = park.at
      FROM jsonb_to_recordset(parked -> 'resume') AS r (state int, topic text)
     WHERE s.topic = r.topic AND r.state <> ALL (lost);
    IF parked ? 'faults' THEN
        PERFORM messaging.stop_if_too_many(at, parked -> 'faults', lost);
    END IF;
END $$;

-- Counts what of these topics was parked lately by faults of our own, and stops those that have too many.
CREATE FUNCTION messaging.stop_if_too_many(at timestamptz, faults jsonb, lost int[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO messaging.stop AS s (topic, since, faults)
    SELECT f.topic, at, counted.n
      FROM (SELECT DISTINCT topic, most, seconds
              FROM jsonb_to_recordset(faults) AS f (state int, topic text, most int, seconds float8)
             WHERE state <> ALL (lost)) f
      LEFT JOIN messaging.stop known USING (topic)
     CROSS JOIN LATERAL (
           SELECT count(*) AS n FROM messaging.parked p
            WHERE p.fault AND p.topic = f.topic AND p.at > coalesce(known.counted_from, '-infinity')
              AND p.at > stop_if_too_many.at - make_interval(secs => f.seconds)) counted
     WHERE counted.n >= f.most ORDER BY f.topic
        ON CONFLICT (topic) DO UPDATE SET since = coalesce(s.since, excluded.since), faults = excluded.faults
$$;

DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON messaging.stop TO %I', runtime);
    EXECUTE format('GRANT EXECUTE ON FUNCTION messaging.stop_if_too_many TO %I', runtime);
END $$;
