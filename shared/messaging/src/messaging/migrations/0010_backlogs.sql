-- Where much waits, each look costs what is looked at.

-- Heads of lanes that wait for a person, and how many there are.
CREATE INDEX parked_head ON messaging.parked (kind, subject, source, n) WHERE outcome = 'parked';
-- Timers that fire whether or not everything was read; those of offers, handoffs and silence never do.
CREATE INDEX timer_anyway ON messaging.timer (fires_anyway) WHERE fires_anyway < '9999-01-01 00:00:00+00';
-- Old claims. A summary of pages only widens: once the pages of forgotten claims are used again, inbox_at finds everything old.
CREATE INDEX inbox_old ON messaging.inbox (at) WHERE outcome NOT IN ('waiting', 'parked');

-- The first that is set aside in a lane.
CREATE FUNCTION messaging.head_of(of_kind text, of_subject text, of_source text) RETURNS TABLE (n bigint) LANGUAGE sql STABLE AS $$
    SELECT p.n FROM messaging.parked p WHERE p.kind = of_kind AND p.subject = of_subject AND p.source = of_source
     ORDER BY p.n LIMIT 1
$$;

-- As before, but of a lane that goes on only its head becomes due, whoever is behind it: a long lane is not written anew for
-- each that leaves it.
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
    UPDATE messaging.parked p SET retry_at = park.at FROM (
           SELECT DISTINCT head.n FROM jsonb_to_recordset(released) AS d (state int, source text)
            CROSS JOIN LATERAL messaging.head_of(s_kind[d.state], s_subject[d.state], d.source) AS head
            WHERE d.state <> ALL (lost)) due
     WHERE p.n = due.n AND p.outcome = 'waiting' AND p.retry_at > park.at;
    UPDATE messaging.state s SET blocked = s.blocked - emptied.sources
      FROM (SELECT state, array_agg(source) AS sources
              FROM jsonb_to_recordset(released) AS d (state int, source text)
             WHERE state <> ALL (lost) AND NOT EXISTS (
                   SELECT FROM messaging.parked p
                    WHERE p.kind = s_kind[d.state] AND p.subject = s_subject[d.state] AND p.source = d.source)
             GROUP BY state) emptied
     WHERE s.kind = s_kind[emptied.state] AND s.subject = s_subject[emptied.state];
    UPDATE messaging.parked p SET retry_at = park.at FROM (
           SELECT DISTINCT head.n FROM jsonb_to_recordset(parked -> 'wake') AS w (state int)
             JOIN messaging.state s ON s.kind = s_kind[w.state] AND s.subject = s_subject[w.state]
            CROSS JOIN LATERAL jsonb_array_elements_text(s.blocked) AS b (source)
            CROSS JOIN LATERAL messaging.head_of(s.kind, s.subject, b.source) AS head
            WHERE w.state <> ALL (lost)) due
     WHERE p.n = due.n AND p.outcome = 'waiting' AND p.retry_at > park.at;
    UPDATE messaging.stop s SET since = NULL, counted_from = park.at
      FROM jsonb_to_recordset(parked -> 'resume') AS r (state int, topic text)
     WHERE s.topic = r.topic AND r.state <> ALL (lost);
    IF parked ? 'faults' THEN
        PERFORM messaging.stop_if_too_many(at, parked -> 'faults', lost);
    END IF;
END $$;

DO $$
BEGIN
    EXECUTE format('GRANT EXECUTE ON FUNCTION messaging.head_of TO %I', regexp_replace(current_user, '_owner$', '_runtime'));
END $$;
