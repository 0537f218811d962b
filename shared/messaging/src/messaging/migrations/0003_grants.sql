-- The runtime role runs and cannot alter; it appends to the outbox only through messaging.append.
DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '_runtime');
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA messaging TO %I', runtime);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA messaging TO %I', runtime);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON messaging.inbox, messaging.timer, messaging.parked TO %I', runtime);
    EXECUTE format('GRANT INSERT, UPDATE ON messaging.state, messaging.progress TO %I', runtime);
    EXECUTE format('GRANT UPDATE ON messaging.relay TO %I', runtime);
    REVOKE EXECUTE ON FUNCTION messaging.append FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA messaging TO %I', runtime);
END $$;
