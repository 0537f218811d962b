-- The same rows as the kit writes, and nothing else: what was done, a count per subject, and what is to be said.
CREATE TABLE inbox (source text, id text, at timestamptz NOT NULL, PRIMARY KEY (source, id));
CREATE TABLE state (subject text PRIMARY KEY, moved bigint NOT NULL) WITH (fillfactor = 80);
CREATE TABLE outbox (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shard smallint NOT NULL, key text NOT NULL, headers text NOT NULL,
    value bytea NOT NULL
);
CREATE INDEX outbox_shard ON outbox (shard, n);
CREATE TABLE relay (shard smallint PRIMARY KEY, sent bigint NOT NULL DEFAULT 0);
INSERT INTO relay SELECT generate_series(0, 11);

CREATE FUNCTION write(sources text[], ids text[], subjects text[], shards smallint[], headers text[], bodies bytea[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO state (subject, moved)
    SELECT subject, count(*) FROM unnest(subjects) AS s (subject) GROUP BY subject ORDER BY subject
        ON CONFLICT (subject) DO UPDATE SET moved = state.moved + excluded.moved;
    INSERT INTO inbox (source, id, at)
    SELECT source, id, now() FROM unnest(sources, ids) AS i (source, id) ORDER BY source, id ON CONFLICT DO NOTHING;
    PERFORM pg_advisory_xact_lock(7263, shard) FROM (SELECT DISTINCT shard FROM unnest(shards) AS o (shard) ORDER BY 1) s;
    INSERT INTO outbox (shard, key, headers, value)
    SELECT shard, key, header, body FROM unnest(shards, subjects, headers, bodies) AS o (shard, key, header, body);
END $$;
