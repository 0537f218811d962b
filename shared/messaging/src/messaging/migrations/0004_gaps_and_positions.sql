-- What was heard, what was said, and what may be forgotten: gaps, positions, pruning.

-- The numbers heard of each subject of each source on the owners' topics: all up to `last` but those `missing`. `announced`
-- are the missing ones that a GapFound has named; `noticed_at` is null while nothing is missing and nothing left to announce.
CREATE TABLE messaging.heard (
    source     text NOT NULL,
    subject    text NOT NULL,
    last       bigint NOT NULL,
    missing    int8multirange NOT NULL DEFAULT '{}',
    announced  int8multirange NOT NULL DEFAULT '{}',
    noticed_at timestamptz,
    PRIMARY KEY (source, subject)
) WITH (fillfactor = 80);
CREATE INDEX heard_gaps ON messaging.heard (noticed_at) WHERE noticed_at IS NOT NULL;

-- Whether a partition is heard from its first record on: only then is a first number above 1 a gap. Partitions that were
-- read before this table was there are not.
CREATE TABLE messaging.hearing (
    topic text NOT NULL,
    part  integer NOT NULL,
    whole boolean NOT NULL,
    PRIMARY KEY (topic, part)
);
INSERT INTO messaging.hearing SELECT topic, part, false FROM messaging.progress;

-- The id and the number of an event in the outbox. Ours come first in its headers, so that nothing has to be parsed.
CREATE FUNCTION messaging.outbox_id(headers text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN starts_with(headers, '[["ce_id","') THEN split_part(headers, '"', 4)
                ELSE (SELECT h ->> 1 FROM json_array_elements(headers::json) h WHERE h ->> 0 = 'ce_id' LIMIT 1) END
$$;
CREATE FUNCTION messaging.outbox_sequence(headers text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN strpos(headers, '"ce_sequence","') > 0
                THEN split_part(split_part(headers, '"ce_sequence","', 2), '"', 1)::bigint
                ELSE (SELECT h ->> 1 FROM json_array_elements(headers::json) h WHERE h ->> 0 = 'ce_sequence' LIMIT 1)::bigint END
$$;

-- Up to which instant something was forgotten: a replay of what is older would do it again.
CREATE TABLE messaging.pruned (
    what   text PRIMARY KEY,
    before timestamptz NOT NULL
);

-- Forgets events of the outbox: per shard at most so many, oldest first, of those that are sent, that the position on record
-- has counted, and whose UUIDv7 is smaller than `before`. The runtime role cannot delete them by any other way.
CREATE FUNCTION messaging.prune_outbox(source text, before text, most int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH counted AS (
        SELECT (c ->> 'partition')::smallint AS shard, (c ->> 'n')::bigint AS n
          FROM messaging.state s CROSS JOIN LATERAL jsonb_array_elements(s.body -> 'shards') c
         WHERE s.kind = 'machinery' AND s.subject = prune_outbox.source
    ), oldest AS (
        SELECT o.n, o.headers FROM counted c JOIN messaging.relay r USING (shard) CROSS JOIN LATERAL (
               SELECT * FROM messaging.outbox o
                WHERE o.shard = c.shard AND o.n <= least(c.n, r.sent) ORDER BY o.n LIMIT most) o
    ), gone AS (
        DELETE FROM messaging.outbox o USING oldest
         WHERE o.n = oldest.n AND messaging.outbox_id(oldest.headers) < before RETURNING 1
    ) SELECT count(*) FROM gone
$$;

-- Pages of the inbox are filled in the order of time, so this small index finds the old ones.
CREATE INDEX inbox_at ON messaging.inbox USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON messaging.heard, messaging.pruned TO %I', runtime);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON messaging.hearing TO %I', runtime);
    REVOKE EXECUTE ON FUNCTION messaging.prune_outbox FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA messaging TO %I', runtime);
END $$;
