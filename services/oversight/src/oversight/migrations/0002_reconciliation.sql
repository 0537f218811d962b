-- What sources say they have said, held against the record, partition by partition.

-- How far a source's claims were found to be so, or were reported: its events at offsets up to `position` are those counted.
CREATE TABLE public.reconciled (
    source   text NOT NULL,
    part     integer NOT NULL,
    count    bigint NOT NULL,
    digest   text NOT NULL,
    position bigint NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (source, part)
);

-- Claims of sources that are not yet found to be so. One that failed keeps from where it was counted and stays until it is so.
CREATE TABLE public.claimed (
    source    text NOT NULL,
    part      integer NOT NULL,
    count     bigint NOT NULL,
    digest    text NOT NULL,
    last_id   text NOT NULL,
    at        timestamptz NOT NULL,
    problem   text,
    failed_at timestamptz,
    looked_at timestamptz NOT NULL DEFAULT '-infinity',
    base_count    bigint,
    base_digest   text,
    base_position bigint,
    PRIMARY KEY (source, part, count)
);

-- An own event by its place, so that counting on costs what is new.
CREATE INDEX record_by_place ON public.record (topic, part, position) WHERE attributes IS NOT NULL;

DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.reconciled, public.claimed TO %I', runtime);
END $$;
