-- The third role, if it was made (deploy/postgres/retention.sql), erases bodies: these three columns, and no other.
DO $$
DECLARE
    retention text := regexp_replace(current_user, '_owner$', '_retention');
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = retention) THEN
        EXECUTE format('GRANT SELECT, UPDATE (salt, attributes, data) ON public.entry TO %I', retention);
    END IF;
END $$;

-- Erasures are few, and whoever verifies the ledger asks for all of them first.
CREATE INDEX entry_of_erasures ON public.entry (index) WHERE type = 'care.rapport.oversight.content-erased.v1';
