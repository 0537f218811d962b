"""The `rapport` command and the local stack: `app` lists the commands, `stack` starts Kafka, PostgreSQL and the services."""
