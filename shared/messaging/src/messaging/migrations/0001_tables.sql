-- The kit's tables, one set per service database. The runtime role reads and writes them; only functions append to the outbox.

CREATE SCHEMA IF NOT EXISTS messaging;

-- What was already done, and how it ended: the one guard against doing anything twice.
CREATE TABLE messaging.inbox (
    source  text NOT NULL,
    id      text NOT NULL,
    digest  bytea NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('applied', 'refused', 'waiting', 'parked', 'discarded')),
    answer  jsonb,
    at      timestamptz NOT NULL,
    PRIMARY KEY (source, id)
);

-- One row per subject of a kind: its state, the counter of what we said about it, and the sources whose events are parked.
CREATE TABLE messaging.state (
    kind     text NOT NULL,
    subject  text NOT NULL,
    version  bigint NOT NULL,
    schema   smallint NOT NULL,
    sequence bigint NOT NULL DEFAULT 0,
    blocked  jsonb NOT NULL DEFAULT '[]',
    body     jsonb,
    PRIMARY KEY (kind, subject)
) WITH (fillfactor = 80);

CREATE TABLE messaging.timer (
    kind         text NOT NULL,
    subject      text NOT NULL,
    name         text NOT NULL,
    id           text NOT NULL,
    due          timestamptz NOT NULL,
    fires_anyway timestamptz NOT NULL,
    not_before   timestamptz,
    attempts     integer NOT NULL DEFAULT 0,
    cause        jsonb NOT NULL,
    PRIMARY KEY (kind, subject, name)
);
CREATE INDEX timer_due ON messaging.timer (due);
CREATE INDEX timer_hasten ON messaging.timer (name, due);

-- Set aside, in order: 'waiting' is looked at again, 'parked' waits for a person. The bytes stay here and nowhere else.
CREATE TABLE messaging.parked (
    n           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    outcome     text NOT NULL CHECK (outcome IN ('waiting', 'parked')),
    kind        text,
    subject     text,
    source      text NOT NULL,
    id          text NOT NULL,
    reason      text NOT NULL,
    topic       text,
    part        integer,
    position    bigint,
    headers     jsonb NOT NULL,
    value       bytea,
    at          timestamptz NOT NULL,
    retry_at    timestamptz NOT NULL,
    gives_up_at timestamptz NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    UNIQUE (source, id)
);
CREATE INDEX parked_retry ON messaging.parked (retry_at) WHERE outcome = 'waiting';
CREATE INDEX parked_lane ON messaging.parked (kind, subject, source, n);

-- What is to be said, append-only; within a shard the order of n is the order of commits.
CREATE TABLE messaging.outbox (
    n          bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    shard      smallint NOT NULL,
    topic      text NOT NULL,
    key        text NOT NULL,
    headers    text NOT NULL,
    value      bytea NOT NULL
);
CREATE INDEX outbox_shard ON messaging.outbox (shard, n);

-- How far the relay of a shard has come, who holds it, and the epoch that fences a paused holder.
CREATE TABLE messaging.relay (
    shard      smallint PRIMARY KEY,
    sent       bigint NOT NULL DEFAULT 0,
    epoch      bigint NOT NULL DEFAULT 0,
    owner      text,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO messaging.relay (shard) SELECT generate_series(0, 11);

-- Per partition read: up to which instant everything was read (limits on answers wait for it), and attempts without progress.
CREATE TABLE messaging.progress (
    topic      text NOT NULL,
    part       integer NOT NULL,
    read_up_to timestamptz NOT NULL DEFAULT '-infinity',
    position   bigint NOT NULL DEFAULT -1,
    attempts   integer NOT NULL DEFAULT 0,
    suspect    bigint,
    PRIMARY KEY (topic, part)
);
