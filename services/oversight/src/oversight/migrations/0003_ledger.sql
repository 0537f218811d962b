-- The ledger: every event once, at a contiguous index, under a Merkle tree (RFC 9162). The runtime role adds to it and reads it;
-- only the frontier, which says how far it is, may be changed. `record` stays for one more release, and is no longer written.
CREATE TABLE public.entry (
    index       bigint PRIMARY KEY,
    source      text NOT NULL,
    id          text NOT NULL,
    type        text NOT NULL,
    topic       text NOT NULL,
    part        integer NOT NULL,
    position    bigint NOT NULL,
    subject     text,
    recorded_at timestamptz NOT NULL,
    digest      bytea NOT NULL,
    salt        bytea,
    attributes  text,
    data        bytea,
    leaf        bytea NOT NULL,
    UNIQUE (source, id)
);
COMMENT ON COLUMN public.entry.digest IS 'of our own events SHA-256(salt, attributes, 0x00, data); of inbound ones HMAC-SHA256 of the value with oversight''s secret key';
COMMENT ON COLUMN public.entry.attributes IS 'CloudEvents attributes as JSON; null, as salt and data are, for inbound records and for what was erased';
COMMENT ON COLUMN public.entry.leaf IS 'RFC 9162 leaf hash of the canonical entry';

CREATE INDEX entry_of_episode ON public.entry (subject, index) WHERE subject IS NOT NULL;
CREATE INDEX entry_of_handoffs ON public.entry (subject) WHERE type LIKE '%.handoff-%';
CREATE INDEX entry_by_place ON public.entry (topic, part, position);

-- Hashes of complete subtrees of 16, 256, 4,096, … leaves, so that a proof reads a hundred hashes and not millions.
CREATE TABLE public.subtree (
    level integer NOT NULL,
    index bigint NOT NULL,
    hash  bytea NOT NULL,
    PRIMARY KEY (level, index)
);

CREATE TABLE public.checkpoint (
    size bigint PRIMARY KEY,
    note text NOT NULL
);
COMMENT ON COLUMN public.checkpoint.note IS 'C2SP tlog-checkpoint, signed';

-- One row. `appended`: the next index. `size`, `nodes`: how far the tree is, and its complete subtrees from left to right.
CREATE TABLE public.frontier (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    appended bigint NOT NULL DEFAULT 0,
    size     bigint NOT NULL DEFAULT 0,
    nodes    bytea[] NOT NULL DEFAULT '{}'
);
INSERT INTO public.frontier DEFAULT VALUES;

-- Appends a batch in its order, without what is there already; the answer is how many were new. Whoever appends holds the
-- frontier's row to the end of its transaction, so indexes are contiguous and become visible in their order.
CREATE FUNCTION public.append(
    sources text[], ids text[], types text[], topics text[], parts integer[], positions bigint[], subjects text[],
    recorded timestamptz[], digests bytea[], salts bytea[], attribute_texts text[], bodies bytea[], leaves bytea[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    next bigint;
    added bigint;
BEGIN
    SELECT f.appended INTO STRICT next FROM frontier f FOR UPDATE;
    INSERT INTO entry
    SELECT next - 1 + row_number() OVER (ORDER BY n), source, id, type, topic, part, position, subject, recorded_at, digest, salt,
           attributes, data, leaf
      FROM unnest(sources, ids, types, topics, parts, positions, subjects, recorded, digests, salts, attribute_texts, bodies, leaves)
           WITH ORDINALITY AS e (source, id, type, topic, part, position, subject, recorded_at, digest, salt, attributes, data, leaf, n)
     WHERE NOT EXISTS (SELECT FROM entry r WHERE r.source = e.source AND r.id = e.id);
    GET DIAGNOSTICS added = ROW_COUNT;
    UPDATE frontier SET appended = appended + added WHERE added > 0;
    RETURN added;
END $$;

DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON public.entry, public.subtree, public.checkpoint TO %I', runtime);
    EXECUTE format('GRANT SELECT, UPDATE ON public.frontier TO %I', runtime);
END $$;
