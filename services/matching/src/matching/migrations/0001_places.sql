-- One row per place that is held: the guard of promise "never more than the capacity". `capacity` is the one it was taken under.
CREATE TABLE public.seat (
    therapist text NOT NULL,
    seat      integer NOT NULL CHECK (seat >= 1),
    episode   text NOT NULL UNIQUE,
    capacity  integer NOT NULL CHECK (seat <= capacity),
    PRIMARY KEY (therapist, seat)
);

-- How many takings and freeings a therapist has seen: the version of their seats.
CREATE TABLE public.seat_counter (
    therapist text PRIMARY KEY,
    counter   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 60);

-- TakePlace and FreePlace as rows, in the order decided.
CREATE FUNCTION public.places(subjects text[], effects jsonb[])
RETURNS TABLE (subject text, i bigint, effect text, therapist text, seat int, counter bigint, episode text, capacity int)
LANGUAGE sql IMMUTABLE AS $$
    SELECT e.subject, e.i, p.*
      FROM unnest(subjects, effects) WITH ORDINALITY AS e (subject, body, i)
     CROSS JOIN LATERAL jsonb_to_record(e.body)
           AS p (effect text, therapist text, seat int, counter bigint, episode text, capacity int)
$$;

-- Carries out takings and freeings and returns the subjects that lost: those that had read another counter or capacity than
-- stands now, and those that build on them. Since the counter is the version of all seats of a therapist, a subject that does
-- not lose has seen them as they are.
CREATE OR REPLACE FUNCTION messaging.effects(subjects text[], effects jsonb[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    lost text[] := '{}';
    more text[];
BEGIN
    INSERT INTO public.seat_counter (therapist)
    SELECT DISTINCT therapist FROM public.places(subjects, effects) ORDER BY therapist ON CONFLICT DO NOTHING;
    PERFORM FROM public.seat_counter
      WHERE therapist IN (SELECT therapist FROM public.places(subjects, effects)) ORDER BY therapist FOR UPDATE;
    LOOP
        SELECT array_agg(DISTINCT subject) INTO more FROM (
            SELECT p.subject, p.counter <> c.counter + row_number() OVER (PARTITION BY p.therapist ORDER BY p.i)
                   OR p.effect = 'TakePlace' AND p.capacity IS DISTINCT FROM (listing.body ->> 'capacity')::int AS loses
              FROM public.places(subjects, effects) p
              JOIN public.seat_counter c USING (therapist)
              LEFT JOIN messaging.state listing ON listing.kind = 'therapist' AND listing.subject = p.therapist
             WHERE p.subject <> ALL (lost)) judged
         WHERE loses;
        EXIT WHEN more IS NULL;
        lost := lost || more;
    END LOOP;

    DELETE FROM public.seat s USING public.places(subjects, effects) p
     WHERE p.subject <> ALL (lost) AND p.effect = 'FreePlace'
       AND s.therapist = p.therapist AND s.seat = p.seat AND s.episode = p.episode;
    INSERT INTO public.seat (therapist, seat, episode, capacity)
    SELECT therapist, seat, episode, capacity
      FROM (SELECT DISTINCT ON (therapist, seat) * FROM public.places(subjects, effects)
             WHERE subject <> ALL (lost) ORDER BY therapist, seat, i DESC) AS last_word
     WHERE effect = 'TakePlace';
    UPDATE public.seat_counter c SET counter = n.counter
      FROM (SELECT therapist, max(counter) AS counter FROM public.places(subjects, effects)
             WHERE subject <> ALL (lost) GROUP BY therapist) n
     WHERE c.therapist = n.therapist;
    RETURN lost;
END $$;

-- Where each client stands, and which places are held, as operators like to read them.
CREATE VIEW public.match AS
SELECT subject AS episode, body ->> 'stage' AS stage, body #>> '{offer,therapist_id}' AS therapist,
       (body #>> '{offer,deadline}')::timestamptz AS offer_deadline, body #>> '{custody,custodian}' AS custodian
  FROM messaging.state WHERE kind = 'match' AND body IS NOT NULL;
CREATE VIEW public.therapist AS
SELECT s.subject AS therapist, (s.body ->> 'capacity')::int AS capacity, (s.body ->> 'accepting')::boolean AS accepting,
       coalesce(c.counter, 0) AS counter, (SELECT count(*) FROM public.seat h WHERE h.therapist = s.subject) AS held
  FROM messaging.state s LEFT JOIN public.seat_counter c ON c.therapist = s.subject
 WHERE s.kind = 'therapist' AND s.body IS NOT NULL;

DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.seat TO %I', runtime);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON public.seat_counter TO %I', runtime);
    EXECUTE format('GRANT SELECT ON public.match, public.therapist TO %I', runtime);
END $$;
