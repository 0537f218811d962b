-- Who the clients are: the one table with names, in the one database of the service that may know them.
CREATE TABLE public.identity (
    episode       text PRIMARY KEY,
    record_number text NOT NULL,
    family_name   text NOT NULL,
    given_name    text NOT NULL,
    birth_date    date NOT NULL,
    phone         text,
    email         text,
    address       text,
    note          text,
    kept_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Keeps the identities of accepted referrals; the first one of an episode stays, and nobody competes for it.
CREATE OR REPLACE FUNCTION messaging.effects(subjects text[], effects jsonb[]) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.identity (episode, record_number, family_name, given_name, birth_date, phone, email, address, note)
    SELECT k.episode, k.record_number, k.family_name, k.given_name, k.birth_date, k.phone, k.email, k.address, k.note
      FROM unnest(effects) AS e (effect),
           jsonb_to_record(effect) AS k (episode text, record_number text, family_name text, given_name text, birth_date date,
                                         phone text, email text, address text, note text)
     WHERE effect ->> 'effect' = 'KeepIdentity' ORDER BY k.episode
        ON CONFLICT (episode) DO NOTHING;
    RETURN '{}';
END $$;

-- Episodes as operators like to read them, without anything that names a client; the rows themselves are the kit's.
CREATE VIEW public.episode AS
SELECT subject AS episode, body ->> 'assigner' AS assigner, body ->> 'identifier' AS identifier,
       body #>> '{custody,custodian}' AS custodian, body #>> '{custody,standing,receiver}' AS asked,
       (body #>> '{custody,standing,deadline}')::timestamptz AS answer_due, body ->> 'withdrawn' AS withdrawn
  FROM messaging.state WHERE kind = 'episode' AND body IS NOT NULL;

-- The runtime role keeps and shows identities; it cannot change or delete them.
DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT ON public.identity TO %I', runtime);
    EXECUTE format('GRANT SELECT ON public.episode TO %I', runtime);
END $$;
