"""Oversight's record built anew from Kafka, beside the old one: where they differ it is said, and the old one stays."""

import asyncio
import json
import uuid
from datetime import UTC, datetime

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from tests.support.kit import sql
from tests.support.stack import FreshDatabase, Infra

from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.oversight import LedgerRead
from contracts.topics import OVERSIGHT
from messaging.migrate import migrate
from oversight import rebuilding
from oversight.settings import Settings


@pytest.fixture(scope="module")
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    return fresh


@pytest.fixture(scope="module")
def settings(infra: Infra, database: FreshDatabase) -> Settings:
    return Settings.model_validate(
        {
            "postgres_dsn": database.runtime_dsn, "owner_dsn": database.owner_dsn, "kafka_bootstrap": infra.bootstrap,
            "secret_key": "only-for-this-test",
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def ids(database: FreshDatabase, settings: Settings) -> list[str]:
    """Events that are in Kafka and on record."""
    said = [str(uuid.uuid4()) for _ in range(5)]
    read = LedgerRead(reader="a-test", purpose="test", entries=1)

    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, acks="all") as producer:
            for event_id in said:
                envelope = Envelope(
                    id=event_id, source="/rapport/oversight", type=read.type, subject="e-1", time=datetime.now(UTC), sequence=1
                )  # fmt: skip
                headers, value = to_headers(attributes_of(envelope)), read.model_dump_json().encode()
                await producer.send_and_wait(OVERSIGHT, value, partition=3, headers=headers)
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) as pool:
            await rebuilding._read_everything(pool, settings, lambda _: None)

    asyncio.run(run())
    return said


def rebuilt(settings: Settings) -> tuple[int, dict[str, str]]:
    """The exit code, and what is said about each topic."""
    lines: list[str] = []
    code = rebuilding.main(settings, "an-operator", lines.append)
    return code, dict(line.split(": ", 1) for line in lines if ".v1: " in line)


def schemas(database: FreshDatabase) -> list[str]:
    return [row["nspname"] for row in sql(database, "SELECT nspname FROM pg_namespace WHERE nspname = 'rebuilt'")]


def test_a_record_that_is_what_kafka_says_is_left_alone_and_the_new_one_goes(
    database: FreshDatabase, settings: Settings, ids: list[str]
) -> None:
    before = sql(database, "SELECT count(*) AS events, max(index) AS newest FROM entry")
    code, said = rebuilt(settings)
    assert code == 0
    assert said[OVERSIGHT].endswith("the same")
    assert schemas(database) == []
    assert sql(database, "SELECT count(*) AS events, max(index) AS newest FROM entry") == before
    acted = sql(database, "SELECT value FROM messaging.outbox ORDER BY n DESC LIMIT 1")[0]["value"]
    assert (json.loads(acted)["action"], json.loads(acted)["reason"]) == ("replay", "rebuild")


def test_what_is_missing_changed_or_invented_on_record_is_counted_and_the_new_record_stays(
    database: FreshDatabase, settings: Settings, ids: list[str]
) -> None:
    sql(database, "DELETE FROM entry WHERE id = $1 RETURNING 1", ids[0])
    sql(database, "UPDATE entry SET data = 'x' WHERE id = ANY ($1) RETURNING 1", ids[1:3])
    invented = """
        INSERT INTO entry (index, source, id, type, topic, part, position, recorded_at, digest, leaf)
        SELECT -1, source, 'invented', type, topic, part, position, recorded_at, digest, leaf FROM entry WHERE id = $1
        RETURNING 1"""
    sql(database, invented, ids[3])
    code, said = rebuilt(settings)
    assert code == 1
    assert said[OVERSIGHT].endswith("the same · 1 only in Kafka · 1 only on record · 2 with other content")
    assert schemas(database) == ["rebuilt"]
    assert sql(database, "SELECT count(*) AS there FROM entry WHERE id = $1", ids[0])[0]["there"] == 0, "it is only looked at"


def test_it_asks_for_the_owner_since_the_runtime_role_may_build_nothing(settings: Settings) -> None:
    lines: list[str] = []
    assert rebuilding.main(settings.model_copy(update={"owner_dsn": None}), "an-operator", lines.append) == 2
    assert "OVERSIGHT_OWNER_DSN" in lines[0]
