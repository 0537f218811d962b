-- A plan is kept as long as its connection, and one that was made while a table was small reads the whole table when it has
-- grown. What a batch asks for is always a few rows by their key, so these functions may plan nothing else.

-- Everything a batch needs to decide: what was done before, the states, which of its timers still stand, and the one now.
CREATE OR REPLACE FUNCTION messaging.read(sources text[], ids text[], kinds text[], subjects text[], timers text[])
RETURNS TABLE (what text, a text, b text, version bigint, schema smallint, sequence bigint, body jsonb, blocked jsonb, digest bytea)
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
    SELECT 'now', messaging.now()::text, NULL, NULL::bigint, NULL::smallint, NULL::bigint, NULL::jsonb, NULL::jsonb, NULL::bytea
    UNION ALL
    SELECT 'done', i.source, i.id, NULL, NULL, NULL, i.answer, to_jsonb(i.outcome), i.digest
      FROM unnest(sources, ids) AS asked (source, id) JOIN messaging.inbox i USING (source, id)
    UNION ALL
    SELECT 'state', s.kind, s.subject, s.version, s.schema, s.sequence, s.body, s.blocked, NULL
      FROM unnest(kinds, subjects) AS asked (kind, subject) JOIN messaging.state s USING (kind, subject)
    UNION ALL
    SELECT 'timer', t.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL
      FROM unnest(kinds, subjects) AS asked (kind, subject) JOIN messaging.timer t USING (kind, subject)
     WHERE cardinality(timers) > 0 AND t.id = ANY (timers)
$$;
ALTER FUNCTION messaging.write SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off;
ALTER FUNCTION messaging.next SET enable_seqscan = off;

-- As before, but a shard whose oldest event is not old enough is not looked through.
CREATE OR REPLACE FUNCTION messaging.prune_outbox(source text, before text, most int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH counted AS (
        SELECT (c ->> 'partition')::smallint AS shard, (c ->> 'n')::bigint AS n
          FROM messaging.state s CROSS JOIN LATERAL jsonb_array_elements(s.body -> 'shards') c
         WHERE s.kind = 'machinery' AND s.subject = prune_outbox.source
    ), old AS (
        SELECT c.* FROM counted c CROSS JOIN LATERAL (
               SELECT headers FROM messaging.outbox o WHERE o.shard = c.shard ORDER BY o.n LIMIT 1) first
         WHERE messaging.outbox_id(first.headers) < before
    ), oldest AS (
        SELECT o.n, o.headers FROM old c JOIN messaging.relay r USING (shard) CROSS JOIN LATERAL (
               SELECT * FROM messaging.outbox o
                WHERE o.shard = c.shard AND o.n <= least(c.n, r.sent) ORDER BY o.n LIMIT most) o
    ), gone AS (
        DELETE FROM messaging.outbox o USING oldest
         WHERE o.n = oldest.n AND messaging.outbox_id(oldest.headers) < before RETURNING 1
    ) SELECT count(*) FROM gone
$$;
