-- Rows of one shard are asked for in the order of (shard, n): asked for by n alone, the planner goes through the numbers of all
-- shards, and for one in which little is said through the whole outbox.

-- As `write`, and it tells where in the outbox the batch stands: of each shard the number before its rows and their last one.
-- Whoever has sent everything up to the former may send the batch without reading it back. The shards are still locked here.
CREATE FUNCTION messaging.write_and_tell(
    at timestamptz,
    s_kind text[], s_subject text[], s_expected bigint[], s_schema smallint[], s_sequence bigint[], s_body text[], s_blocked text[],
    c_state int[], c_source text[], c_id text[], c_digest bytea[], c_outcome text[], c_answer text[], c_again boolean[],
    e_state int[], e_effect text[],
    x_state int[], x_name text[],
    t_state int[], t_name text[], t_id text[], t_due timestamptz[], t_anyway timestamptz[], t_cause text[],
    o_state int[], o_shard smallint[], o_topic text[], o_key text[], o_headers text[], o_value bytea[],
    hasten text[], parked jsonb, p_value bytea[],
    OUT lost int[], OUT shards smallint[], OUT befores bigint[], OUT lasts bigint[]
) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    ours xid := pg_current_xact_id()::xid;
BEGIN
    lost := messaging.write(
        at, s_kind, s_subject, s_expected, s_schema, s_sequence, s_body, s_blocked,
        c_state, c_source, c_id, c_digest, c_outcome, c_answer, c_again, e_state, e_effect, x_state, x_name,
        t_state, t_name, t_id, t_due, t_anyway, t_cause, o_state, o_shard, o_topic, o_key, o_headers, o_value,
        hasten, parked, p_value);
    SELECT coalesce(array_agg(shard), '{}'), coalesce(array_agg(before), '{}'), coalesce(array_agg(last), '{}')
      INTO shards, befores, lasts
      FROM (SELECT shard, count(*) AS said FROM unnest(o_shard, o_state) AS o (shard, state)
             WHERE state <> ALL (lost) GROUP BY shard) touched
     CROSS JOIN LATERAL (
           SELECT coalesce(max(n) FILTER (WHERE xmin <> ours), 0) AS before, max(n) FILTER (WHERE xmin = ours) AS last
             FROM (SELECT n, xmin FROM messaging.outbox o
                    WHERE o.shard >= touched.shard AND (o.shard, o.n) < (touched.shard, 9223372036854775807)
                    ORDER BY o.shard DESC, o.n DESC LIMIT said + 1) newest) told
     WHERE cardinality(o_state) > 0;
END $$;

-- The next rows of the relay and the oldest of pruning, as before but by that order.
CREATE OR REPLACE FUNCTION messaging.next(owner text, shards smallint[], epochs bigint[], sents bigint[], most int)
RETURNS TABLE (shard smallint, n bigint, topic text, key text, headers text, value bytea) LANGUAGE plpgsql
SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE messaging.relay r SET sent = h.sent FROM unnest(shards, epochs, sents) AS h (shard, epoch, sent)
     WHERE r.shard = h.shard AND r.epoch = h.epoch AND r.owner = next.owner AND r.sent < h.sent;
    RETURN QUERY
        SELECT o.shard, o.n, o.topic, o.key, o.headers, o.value
          FROM unnest(shards, epochs, sents) AS h (shard, epoch, sent)
          JOIN messaging.relay r ON r.shard = h.shard AND r.epoch = h.epoch AND r.owner = next.owner
         CROSS JOIN LATERAL (SELECT * FROM messaging.outbox o
                              WHERE o.shard <= h.shard AND (o.shard, o.n) > (h.shard, h.sent)
                              ORDER BY o.shard, o.n LIMIT next.most) o
         ORDER BY o.shard, o.n;
END $$;

CREATE OR REPLACE FUNCTION messaging.prune_outbox(source text, before text, most int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH counted AS (
        SELECT (c ->> 'partition')::smallint AS shard, (c ->> 'n')::bigint AS n
          FROM messaging.state s CROSS JOIN LATERAL jsonb_array_elements(s.body -> 'shards') c
         WHERE s.kind = 'machinery' AND s.subject = prune_outbox.source
    ), old AS (
        SELECT c.* FROM counted c CROSS JOIN LATERAL (
               SELECT headers FROM messaging.outbox o WHERE o.shard <= c.shard AND (o.shard, o.n) > (c.shard, 0)
                ORDER BY o.shard, o.n LIMIT 1) first
         WHERE messaging.outbox_id(first.headers) < before
    ), oldest AS (
        SELECT o.n, o.headers FROM old c JOIN messaging.relay r USING (shard) CROSS JOIN LATERAL (
               SELECT * FROM messaging.outbox o
                WHERE (o.shard, o.n) > (c.shard, 0) AND (o.shard, o.n) <= (c.shard, least(c.n, r.sent))
                ORDER BY o.shard, o.n LIMIT most) o
    ), gone AS (
        DELETE FROM messaging.outbox o USING oldest
         WHERE o.n = oldest.n AND messaging.outbox_id(oldest.headers) < before RETURNING 1
    ) SELECT count(*) FROM gone
$$;

DO $$
BEGIN
    EXECUTE format('GRANT EXECUTE ON FUNCTION messaging.write_and_tell TO %I', regexp_replace(current_user, '_owner$', '_runtime'));
END $$;
