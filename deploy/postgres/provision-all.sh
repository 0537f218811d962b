#!/bin/sh
# The database and the roles of every service, for docker-compose; the PG* variables say where, RAPPORT_PASSWORD is for the roles.
set -eu
for service in intake matching followup oversight; do
    psql -v ON_ERROR_STOP=1 -v database="rapport_$service" \
        -v owner="${service}_owner" -v owner_password="$RAPPORT_PASSWORD" \
        -v runtime="${service}_runtime" -v runtime_password="$RAPPORT_PASSWORD" \
        -f /deploy/provision.sql
done
psql -v ON_ERROR_STOP=1 -v database=rapport_oversight -v retention=oversight_retention \
    -v retention_password="$RAPPORT_PASSWORD" -f /deploy/retention.sql
