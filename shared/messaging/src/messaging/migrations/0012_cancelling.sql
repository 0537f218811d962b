-- Judges, carries out and returns what is lost as before, but each timer that a batch cancels is looked up by its subject. They
-- were found by going through the index by name: the planner knows how few timers stand, and not how many entries of those that
-- are gone an index has until it is vacuumed.
CREATE OR REPLACE FUNCTION messaging.write(
    at timestamptz,
    s_kind text[], s_subject text[], s_expected bigint[], s_schema smallint[], s_sequence bigint[], s_body text[], s_blocked text[],
    c_state int[], c_source text[], c_id text[], c_digest bytea[], c_outcome text[], c_answer text[], c_again boolean[],
    e_state int[], e_effect text[],
    x_state int[], x_name text[],
    t_state int[], t_name text[], t_id text[], t_due timestamptz[], t_anyway timestamptz[], t_cause text[],
    o_state int[], o_shard smallint[], o_topic text[], o_key text[], o_headers text[], o_value bytea[],
    hasten text[], parked jsonb, p_value bytea[]
) RETURNS int[] LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    lost int[];
    lost_subjects text[];
    ours xid := pg_current_xact_id()::xid;
    claimed bigint;
BEGIN
    IF 0 = ANY (s_expected) THEN
        INSERT INTO messaging.state (kind, subject, version, schema)
        SELECT kind, subject, 0, schema
          FROM unnest(s_kind, s_subject, s_expected, s_schema) AS s (kind, subject, expected, schema)
         WHERE expected = 0 ORDER BY kind, subject ON CONFLICT DO NOTHING;
    END IF;

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
    GET DIAGNOSTICS claimed = ROW_COUNT;
    IF claimed < cardinality(c_state) THEN
        SELECT lost || coalesce(array_agg(DISTINCT c.state), '{}') INTO lost
          FROM unnest(c_state, c_source, c_id, c_again) AS c (state, source, id, again)
          LEFT JOIN messaging.inbox i USING (source, id)
         WHERE NOT coalesce(CASE WHEN again THEN i.outcome IN ('waiting', 'parked') ELSE i.xmin = ours END, false);
    END IF;

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

    -- One by one, since a join may go through all timers; and in a collation that the index by name does not have.
    FOR place IN 1 .. cardinality(x_state) LOOP
        DELETE FROM messaging.timer
         WHERE x_state[place] <> ALL (lost)
           AND kind = s_kind[x_state[place]] AND subject = s_subject[x_state[place]] AND name COLLATE "C" = x_name[place];
    END LOOP;
    IF cardinality(t_state) > 0 THEN
        INSERT INTO messaging.timer (kind, subject, name, id, due, fires_anyway, cause)
        SELECT s_kind[state], s_subject[state], name, id, due, anyway, cause::jsonb
          FROM unnest(t_state, t_name, t_id, t_due, t_anyway, t_cause) AS t (state, name, id, due, anyway, cause)
         WHERE state <> ALL (lost)
            ON CONFLICT (kind, subject, name) DO UPDATE SET id = excluded.id, due = excluded.due,
               fires_anyway = excluded.fires_anyway, cause = excluded.cause, attempts = 0, not_before = NULL;
    END IF;
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
