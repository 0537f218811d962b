-- Oversight's third role: it may erase bodies of the ledger's entries, and nothing else; entries themselves nobody can delete.
-- psql -v database=rapport_oversight -v retention=oversight_retention -v retention_password=… -f retention.sql
-- Oversight's migrations give it its rights, so it is made before them.

SELECT format('CREATE ROLE %I LOGIN', :'retention')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'retention')
\gexec

ALTER ROLE :"retention" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'retention_password';

GRANT CONNECT ON DATABASE :"database" TO :"retention";

\connect :"database"

GRANT USAGE ON SCHEMA public TO :"retention";
