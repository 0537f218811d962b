"""Between the broker and the consumer nothing is lost: whatever the client cannot unpack, and whatever fails on the way."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import UnsupportedCodecError
from tests.support import kit
from tests.support.kit import Replica, during, journal, member, publish, said, until, words
from tests.support.stack import FreshDatabase, Infra

READ_UP_TO = "SELECT min(read_up_to) FROM messaging.progress WHERE topic = $1"


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


@pytest.fixture
def topic(infra: Infra) -> str:
    return infra.topics(["said"], partitions=2)["said"]


async def sent(producer: AIOKafkaProducer, topic: str, records: Sequence[Any]) -> None:
    for record in records:
        await producer.send(topic, record.value, partition=0, headers=list(record.headers))
    await producer.flush()


async def written(replica: Replica, word: str) -> Any:
    return await replica.pool.fetchval("SELECT 1 FROM messaging.state WHERE body::text LIKE '%' || $1 || '%'", f'"{word}"')


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_what_a_producer_compressed_is_read(infra: Infra, database: FreshDatabase, topic: str, codec: str) -> None:
    async def scenario(replica: Replica) -> None:
        async with AIOKafkaProducer(bootstrap_servers=infra.bootstrap, compression_type=codec) as producer:
            await sent(producer, topic, [said("w1", do="open", arg="x" * 500), said("w2", arg="x" * 500)])
        async with member(replica, infra.bootstrap, topic, topic):
            await until(lambda: written(replica, "w2"))

    during(database, scenario)
    assert journal(database) == words(2)


def test_a_partition_that_cannot_be_unpacked_costs_no_other_a_record_and_is_told_and_tried_again(
    infra: Infra, database: FreshDatabase, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack, bad = FetchResult.getall, TopicPartition(topic, 1)

    def failing(self: Any, most: int | None = None) -> Any:
        if self._topic_partition == bad and self.check_assignment(bad):
            raise UnsupportedCodecError("a codec of tomorrow")
        return unpack(self, most)

    async def scenario(replica: Replica) -> str | None:
        monkeypatch.setattr(FetchResult, "getall", failing)
        await publish(infra.bootstrap, topic, [said("w1", do="open"), said("w2")])
        await publish(infra.bootstrap, topic, [said("v1", "s-2", do="open")], partition=1)
        async with member(replica, infra.bootstrap, topic, topic) as membership:
            for word in words(9)[2:]:
                await publish(infra.bootstrap, topic, [said(word)])
            await until(lambda: written(replica, "w9"))
            await until(lambda: asyncio.sleep(0, membership.missing()))
            told = membership.missing()
            monkeypatch.setattr(FetchResult, "getall", unpack)
            membership._bringing._found_at = -1000.0
            await until(lambda: written(replica, "v1"))
            await until(lambda: asyncio.sleep(0, membership.missing() is None))
        return told

    told = during(database, scenario)
    assert told is not None
    assert f"partition 1 of {topic} cannot be unpacked (UnsupportedCodecError)" in told
    assert journal(database) == words(9)
    assert journal(database, "s-2") == ["v1"]


@pytest.mark.parametrize("where", ["_stops.passing", "_suspects.meet"])
def test_a_batch_that_could_not_be_handed_over_is_brought_again(
    infra: Infra, database: FreshDatabase, topic: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async def scenario(replica: Replica) -> None:
        async with member(replica, infra.bootstrap, topic, topic) as membership:
            part, name = where.split(".")
            owner = getattr(membership, part)
            whole, failures = getattr(owner, name), [asyncpg.InternalClientError("cut in mid-statement")]

            async def failing(*words: Any) -> Any:
                if failures:
                    raise failures.pop()
                return await whole(*words)

            monkeypatch.setattr(owner, name, failing)
            await publish(infra.bootstrap, topic, [said("w1", do="open")])
            await publish(infra.bootstrap, topic, [said("w2")])
            await until(lambda: written(replica, "w2"))

    during(database, scenario)
    assert journal(database) == words(2)


def test_markers_of_transactions_hold_up_no_limit_and_what_was_aborted_is_not_read(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    async def scenario(replica: Replica) -> None:
        async with AIOKafkaProducer(bootstrap_servers=infra.bootstrap, transactional_id=f"{topic}-tx") as producer:
            async with producer.transaction():
                await sent(producer, topic, [said("w1", do="open")])
            await producer.begin_transaction()
            await sent(producer, topic, [said("never")])
            await producer.abort_transaction()
        async with member(replica, infra.bootstrap, topic, topic):
            await until(lambda: written(replica, "w1"))
            now: datetime = await replica.pool.fetchval("SELECT clock_timestamp()")
            await until(lambda: read_past(replica, topic, now))

    during(database, scenario)
    assert journal(database) == ["w1"]


async def read_past(replica: Replica, topic: str, instant: datetime) -> bool:
    return bool(await replica.pool.fetchval(f"SELECT ({READ_UP_TO}) > $2", topic, instant))


def test_an_answer_of_the_broker_grows_no_younger_while_the_database_keeps_us_waiting(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    async def scenario(replica: Replica) -> tuple[datetime, datetime]:
        owner = await asyncpg.connect(database.owner_dsn)
        async with member(replica, infra.bootstrap, topic, topic):
            await until(lambda: read_past(replica, topic, datetime.fromisoformat("2026-01-01T00:00:00+00:00")))
            async with owner.transaction():
                await owner.execute("LOCK TABLE messaging.progress IN EXCLUSIVE MODE")
                known = await owner.fetchval(READ_UP_TO, topic)
                locked = await owner.fetchval("SELECT clock_timestamp()")
                await owner.execute("SELECT pg_sleep(4)")
            await until(lambda: read_past(replica, topic, known))
            first = await owner.fetchval(READ_UP_TO, topic)
        await owner.close()
        return locked, first

    locked, first = during(database, scenario)
    assert first < locked + timedelta(seconds=2)
