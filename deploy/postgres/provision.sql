-- One database and two roles: the owner migrates, the runtime role runs and cannot create or alter anything.
-- psql -v database=rapport_intake -v owner=intake_owner -v owner_password=… \
--      -v runtime=intake_runtime -v runtime_password=… -f provision.sql
-- Rights on tables are granted by the owner's migrations, one by one.

SELECT format('CREATE ROLE %I LOGIN', role)
  FROM (VALUES (:'owner'), (:'runtime')) AS wanted (role)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';

ALTER ROLE :"runtime" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'runtime_password';

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;

GRANT CONNECT ON DATABASE :"database" TO :"runtime";

\connect :"database"

REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT USAGE ON SCHEMA public TO :"runtime";
