-- Plans as operators like to read them; the rows themselves are the kit's.
CREATE VIEW public.plan AS
SELECT subject AS episode, body ->> 'id' AS plan_id, body ->> 'stage' AS stage, body ->> 'therapist_id' AS therapist_id,
       body ->> 'urgency' AS urgency, (body ->> 'first_session_due')::timestamptz AS first_session_due,
       jsonb_array_length(body -> 'sessions') AS sessions
  FROM messaging.state WHERE kind = 'plan' AND body IS NOT NULL;

DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON public.plan TO %I', regexp_replace(current_user, '_owner$', '_runtime'));
END $$;
