-- Every event once, in the order recorded. The runtime role may read it and add to it, and nothing else.
CREATE TABLE public.record (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    topic text NOT NULL,
    part integer NOT NULL,
    position bigint NOT NULL,
    digest bytea NOT NULL,
    subject text,
    sequence bigint,
    time timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attributes json,
    data bytea,
    UNIQUE (source, id)
);
COMMENT ON COLUMN public.record.digest IS 'HMAC-SHA256 of the value with oversight''s secret key';
COMMENT ON COLUMN public.record.attributes IS 'CloudEvents attributes; null for inbound records, of which no body is kept either';

CREATE INDEX record_of_episode ON public.record (subject, n) WHERE attributes IS NOT NULL;
CREATE INDEX record_of_handoffs ON public.record (subject) WHERE type LIKE '%.handoff-%' AND attributes IS NOT NULL;

DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON public.record TO %I', runtime);
END $$;
