-- The kit's three functions: the clock, the one read and the one write of a batch.

CREATE FUNCTION messaging.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- A service that keeps rows of its own replaces this: it carries out effects and returns the subjects that lost a race.
CREATE FUNCTION messaging.effects(subjects text[], effects jsonb[]) RETURNS text[]
    LANGUAGE sql AS 'SELECT ''{}''::text[]';

-- Everything a batch needs to decide: what was done before, the states, which of its timers still stand, and the one now.
CREATE FUNCTION messaging.read(sources text[], ids text[], kinds text[], subjects text[], timers text[])
RETURNS TABLE (what text, a text, b text, version bigint, schema smallint, sequence bigint, body jsonb, blocked jsonb, digest bytea)
LANGUAGE sql STABLE AS $$
    SELECT 'now', messaging.now()::text, NULL, NULL::bigint, NULL::smallint, NULL::bigint, NULL::jsonb, NULL::jsonb, NULL::bytea
    UNION ALL
    SELECT 'done', i.source, i.id, NULL, NULL, NULL, i.answer, to_jsonb(i.outcome), i.digest
      FROM unnest(sources, ids) AS asked (source, id) JOIN messaging.inbox i USING (source, id)
    UNION ALL
    SELECT 'state', s.kind, s.subject, s.version, s.schema, s.sequence, s.body, s.blocked, NULL
      FROM unnest(kinds, subjects) AS asked (kind, subject) JOIN messaging.state s USING (kind, subject)
    UNION ALL
    SELECT 'timer', t.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM messaging.timer t WHERE t.id = ANY (timers)
$$;

-- Judges every subject of a batch, carries out the winners and returns the numbers of the losers. Locks in sorted order:
-- states, inbox, the service's own rows, and the outbox shards last, so that their order is the order of commits.
CREATE FUNCTION messaging.write(
    at timestamptz,
    s_kind text[], s_subject text[], s_expected bigint[], s_schema smallint[], s_sequence bigint[], s_body text[], s_blocked text[],
    c_state int[], c_source text[], c_id text[], c_digest bytea[], c_outcome text[], c_answer text[], c_again boolean[],
    e_state int[], e_effect text[],
    x_state int[], x_name text[],
    t_state int[], t_name text[], t_id text[], t_due timestamptz[], t_anyway timestamptz[], t_cause text[],
    o_state int[], o_shard smallint[], o_topic text[], o_key text[], o_headers text[], o_value bytea[],
    hasten text[], parked jsonb, p_value bytea[]
) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    lost int[];
    lost_subjects text[];
    ours xid := pg_current_xact_id()::xid;
BEGIN
    INSERT INTO messaging.state (kind, subject, version, schema)
    SELECT kind, subject, 0, schema FROM unnest(s_kind, s_subject, s_expected, s_schema) AS s (kind, subject, expected, schema)
     WHERE expected = 0 ORDER BY kind, subject ON CONFLICT DO NOTHING;

    WITH locked AS (
        SELECT i, version, expected
          FROM unnest(s_kind, s_subject, s_expected) WITH ORDINALITY AS s (kind, subject, expected, i)
          JOIN messaging.state USING (kind, subject) ORDER BY kind, subject FOR UPDATE OF state
    ) SELECT coalesce(array_agg(i::int) FILTER (WHERE version <> expected), '{}') INTO lost FROM locked;

    -- A claim that is not ours (somebody else did it, or is done with it) loses its subject.
    INSERT INTO messaging.inbox (source, id, digest, outcome, answer, at)
    SELECT source, id, digest, outcome, answer::jsonb, at
      FROM unnest(c_state, c_source, c_id, c_digest, c_outcome, c_answer, c_again)
           AS c (state, source, id, digest, outcome, answer, again)
     WHERE NOT again AND state <> ALL (lost) ORDER BY source, id ON CONFLICT DO NOTHING;
    SELECT lost || coalesce(array_agg(DISTINCT c.state), '{}') INTO lost
      FROM unnest(c_state, c_source, c_id, c_again) AS c (state, source, id, again)
      LEFT JOIN messaging.inbox i USING (source, id)
     WHERE NOT coalesce(CASE WHEN again THEN i.outcome IN ('waiting', 'parked') ELSE i.xmin = ours END, false);

    IF cardinality(e_state) > 0 THEN
        SELECT messaging.effects(array_agg(s_subject[state] ORDER BY i), array_agg(effect::jsonb ORDER BY i)) INTO lost_subjects
          FROM unnest(e_state, e_effect) WITH ORDINALITY AS e (state, effect, i) WHERE state <> ALL (lost);
        SELECT lost || coalesce(array_agg(DISTINCT state), '{}') INTO lost
          FROM unnest(e_state) AS e (state) WHERE s_subject[state] = ANY (lost_subjects);
    END IF;

    IF cardinality(lost) > 0 THEN
        DELETE FROM messaging.inbox i USING unnest(c_state, c_source, c_id) AS c (state, source, id)
         WHERE c.state = ANY (lost) AND i.source = c.source AND i.id = c.id AND i.xmin = ours;
    END IF;
    IF true = ANY (c_again) THEN
        UPDATE messaging.inbox i SET outcome = c.outcome, answer = c.answer::jsonb
          FROM unnest(c_state, c_source, c_id, c_outcome, c_answer, c_again) AS c (state, source, id, outcome, answer, again)
         WHERE again AND state <> ALL (lost) AND i.source = c.source AND i.id = c.id;
    END IF;

    UPDATE messaging.state s
       SET version = s.version + 1, schema = n.schema, sequence = n.sequence, blocked = n.blocked::jsonb,
           body = coalesce(n.body::jsonb, s.body)
      FROM unnest(s_kind, s_subject, s_schema, s_sequence, s_body, s_blocked)
           WITH ORDINALITY AS n (kind, subject, schema, sequence, body, blocked, i)
     WHERE s.kind = n.kind AND s.subject = n.subject AND n.i <> ALL (lost);

    IF cardinality(x_state) > 0 THEN
        DELETE FROM messaging.timer t USING unnest(x_state, x_name) AS x (state, name)
         WHERE x.state <> ALL (lost) AND t.kind = s_kind[x.state] AND t.subject = s_subject[x.state] AND t.name = x.name;
    END IF;
    INSERT INTO messaging.timer (kind, subject, name, id, due, fires_anyway, cause)
    SELECT s_kind[state], s_subject[state], name, id, due, anyway, cause::jsonb
      FROM unnest(t_state, t_name, t_id, t_due, t_anyway, t_cause) AS t (state, name, id, due, anyway, cause)
     WHERE state <> ALL (lost)
        ON CONFLICT (kind, subject, name) DO UPDATE SET id = excluded.id, due = excluded.due,
           fires_anyway = excluded.fires_anyway, cause = excluded.cause, attempts = 0, not_before = NULL;
    IF cardinality(hasten) > 0 THEN
        PERFORM messaging.hasten(hasten, at);
    END IF;
    IF parked IS NOT NULL THEN
        PERFORM messaging.park(at, parked, p_value, s_kind, s_subject, lost);
    END IF;
    IF cardinality(o_state) > 0 THEN
        PERFORM messaging.append(o_state, o_shard, o_topic, o_key, o_headers, o_value, lost);
    END IF;
    RETURN lost;
END $$;

-- Appends to the outbox under the locks of its shards, ascending: the last thing a transaction does. It runs as its owner,
-- since the runtime role may not insert into the outbox by any other way.
CREATE FUNCTION messaging.append(
    o_state int[], o_shard smallint[], o_topic text[], o_key text[], o_headers text[], o_value bytea[], lost int[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7263, shard)
       FROM (SELECT DISTINCT shard FROM unnest(o_shard, o_state) AS o (shard, state) WHERE state <> ALL (lost) ORDER BY 1) s;
    INSERT INTO messaging.outbox (shard, topic, key, headers, value)
    SELECT shard, topic, key, headers, value
      FROM unnest(o_state, o_shard, o_topic, o_key, o_headers, o_value) WITH ORDINALITY
           AS o (state, shard, topic, key, headers, value, i)
     WHERE state <> ALL (lost) ORDER BY i;
END $$;

-- Timers of a name become due now, in the order in which they were due: twenty for each time it was asked for, since what
-- came free may not suit whoever is first in line.
CREATE FUNCTION messaging.hasten(names text[], at timestamptz) RETURNS void LANGUAGE sql AS $$
    UPDATE messaging.timer t SET due = at + line.place * interval '1 microsecond', fires_anyway = at
      FROM (SELECT asked.name, w.kind, w.subject, row_number() OVER (ORDER BY w.due, w.subject) AS place
              FROM (SELECT name, count(*) * 20 AS most FROM unnest(names) AS n (name) GROUP BY name) asked
             CROSS JOIN LATERAL (
                   SELECT kind, subject, due FROM messaging.timer w WHERE w.name = asked.name AND w.due > at
                    ORDER BY w.due, w.subject LIMIT asked.most FOR UPDATE SKIP LOCKED) w) line
     WHERE t.kind = line.kind AND t.subject = line.subject AND t.name = line.name
$$;

-- Carries out what a batch sets aside (add), looks at again later or gives up on (keep), or is done with (drop), and makes
-- what waits for a subject that moved due now (wake). What is left of a lane whose head is done is due too; a lane with
-- nothing left is open. All of it happens under the lock of the subject's state, so nobody queues unseen.
CREATE FUNCTION messaging.park(at timestamptz, parked jsonb, p_value bytea[], s_kind text[], s_subject text[], lost int[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging.parked (outcome, kind, subject, source, id, reason, topic, part, position, headers, value, at,
                                  retry_at, gives_up_at)
    SELECT outcome, s_kind[state], s_subject[state], source, id, reason, topic, part, position, headers, p_value[nr], at,
           retry_at, gives_up_at
      FROM jsonb_to_recordset(parked -> 'add') AS p (nr int, state int, outcome text, source text, id text, reason text,
           topic text, part int, position bigint, headers jsonb, retry_at timestamptz, gives_up_at timestamptz)
     WHERE state <> ALL (lost) ORDER BY nr ON CONFLICT (source, id) DO NOTHING;
    UPDATE messaging.parked p SET attempts = p.attempts + 1, outcome = k.outcome, reason = k.reason, retry_at = k.retry_at
      FROM jsonb_to_recordset(parked -> 'keep') AS k (state int, n bigint, outcome text, reason text, retry_at timestamptz)
     WHERE p.n = k.n AND k.state <> ALL (lost);
    DELETE FROM messaging.parked p USING jsonb_to_recordset(parked -> 'drop') AS d (state int, n bigint)
     WHERE p.n = d.n AND d.state <> ALL (lost);
    UPDATE messaging.parked p SET retry_at = park.at FROM jsonb_to_recordset(parked -> 'drop') AS d (state int, source text)
     WHERE p.outcome = 'waiting' AND p.kind = s_kind[d.state] AND p.subject = s_subject[d.state] AND p.source = d.source
       AND d.state <> ALL (lost);
    UPDATE messaging.state s SET blocked = s.blocked - emptied.sources
      FROM (SELECT state, array_agg(source) AS sources
              FROM jsonb_to_recordset(parked -> 'drop') AS d (state int, source text)
             WHERE state <> ALL (lost) AND NOT EXISTS (
                   SELECT FROM messaging.parked p
                    WHERE p.kind = s_kind[d.state] AND p.subject = s_subject[d.state] AND p.source = d.source)
             GROUP BY state) emptied
     WHERE s.kind = s_kind[emptied.state] AND s.subject = s_subject[emptied.state];
    UPDATE messaging.parked p SET retry_at = park.at FROM jsonb_to_recordset(parked -> 'wake') AS w (state int)
     WHERE p.outcome = 'waiting' AND p.kind = s_kind[w.state] AND p.subject = s_subject[w.state] AND w.state <> ALL (lost);
END $$;
