"""What a source says it has said: exact, never counted twice, checkable by who reads only Kafka, quiet when nothing happens."""

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from tests.support import kit
from tests.support.kit import PARKED_TOPIC, ROUTES, SOURCE, broken, received, said, sql
from tests.support.stack import FreshDatabase, Infra

from messaging import machinery
from messaging.decision import NoContext
from messaging.lease import Lease
from messaging.message import Answer
from messaging.metrics import Meters
from messaging.outbox import shard_of
from messaging.parking import Policy
from messaging.positions import Positions
from messaging.processor import Processor
from messaging.relay import Relay

machinery.add_to(ROUTES)
# Whoever takes over sends some of it again.
_SENT_BEFORE_IT_DIED = "UPDATE messaging.relay SET sent = greatest(0, sent - 3), owner = NULL, expires_at = '-infinity'"
Reading = dict[int, list[ConsumerRecord]]


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


@pytest.fixture
def topics(infra: Infra) -> tuple[str, str]:
    real = infra.topics(["said", PARKED_TOPIC])
    return real["said"], real[PARKED_TOPIC]


@dataclass
class Speaker:
    """One process of a service whose own topic is this test's."""

    pool: Any
    processor: Processor
    positions: Positions
    relay: Relay

    async def say(self, subject: str, times: int = 1) -> None:
        """Says something about a subject so often."""
        does = [said(f"{subject}-{n}", subject, do="open") for n in range(times)]
        await self.processor.handle([received(each) for each in does])

    async def answers(self, *records: Any) -> list[Answer]:
        return await self.processor.handle([received(record) for record in records])

    async def relayed(self) -> None:
        """Everything is sent."""
        while await self.relay.turn():
            pass


def speaking(
    infra: Infra, database: FreshDatabase, topics: tuple[str, str], scenario: Callable[..., Any], count: int = 1
) -> Any:
    async def run() -> Any:
        made = []
        for nr in range(count):
            pool = await asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=3)
            policy = Policy(topics[1], timedelta(hours=1), b"key")
            processor = Processor(pool, ROUTES, SOURCE, topics[0], NoContext(), policy, lambda *_: None)
            lease = Lease(pool, f"relay-{nr}", timedelta(seconds=30))
            relay = Relay(lambda: AIOKafkaProducer(bootstrap_servers=infra.bootstrap, acks="all"), lease, Meters())
            made.append(Speaker(pool, processor, Positions(pool, processor, SOURCE, topics[0]), relay))
        try:
            return await scenario(*made)
        finally:
            for speaker in made:
                await speaker.relay.discard_producer()
                await speaker.pool.close()

    return asyncio.run(run())


def read(infra: Infra, topic: str) -> Reading:
    """Everything on a topic, by partition."""

    async def run() -> Reading:
        reader = AIOKafkaConsumer(bootstrap_servers=infra.bootstrap, auto_offset_reset="earliest")
        await reader.start()
        partitions = [TopicPartition(topic, n) for n in range(12)]
        reader.assign(partitions)
        ends, found = await reader.end_offsets(partitions), Reading()
        while sum(len(records) for records in found.values()) < sum(ends.values()):
            for tp, records in (await reader.getmany(timeout_ms=200)).items():
                found.setdefault(tp.partition, []).extend(records)
        await reader.stop()
        return found

    return asyncio.run(run())


def header(record: ConsumerRecord, name: str) -> str:
    return str({key: value.decode() for key, value in record.headers}[f"ce_{name}"])


def positions_in(reading: Reading) -> list[dict[str, Any]]:
    told = {header(r, "id"): r for records in reading.values() for r in records if "outbox-position" in header(r, "type")}
    return [json.loads(record.value or b"") for record in told.values()]


def counted_from_kafka(records: list[ConsumerRecord], last_id: str) -> tuple[int, str]:
    """Distinct ids up to the first occurrence of one, and their digest, as the contract says it."""
    seen: set[str] = set()
    for record in records:
        seen.add(header(record, "id"))
        if header(record, "id") == last_id:
            break
    total = sum(int.from_bytes(sha256(each.encode()).digest()[:8], "big") for each in seen)
    return len(seen), f"{total % 2**64:016x}"


def test_every_position_holds_for_who_reads_only_kafka_whoever_counts_and_whatever_is_sent_twice(
    infra: Infra, database: FreshDatabase, topics: tuple[str, str]
) -> None:
    async def scenario(*made: Speaker) -> None:
        chance = random.Random(1)

        async def say(speaker: Speaker) -> None:
            for _ in range(25):
                await speaker.say(f"s-{chance.randint(1, 40)}", chance.randint(1, 4))

        async def count() -> None:
            for _ in range(25):
                await asyncio.gather(*(speaker.positions.turn(per_shard=7) for speaker in made))
                await asyncio.sleep(0.02)

        async def send() -> None:
            for turn in range(40):
                relay = made[turn // 10 % 2].relay
                await relay.turn(per_shard=5)
                if turn % 10 == 9:
                    await relay.discard_producer()
                    await made[0].pool.execute(_SENT_BEFORE_IT_DIED)

        await asyncio.gather(*map(say, made), count(), send())
        for n in range(6):
            await made[0].say(f"s-{n}")
            await asyncio.gather(*(speaker.relayed() for speaker in made))
            await made[1].positions.turn()

    speaking(infra, database, topics, scenario, count=2)
    reading = read(infra, topics[0])
    told = positions_in(reading)
    assert len(told) > 3
    shards = [(shard["partition"], shard) for position in told for shard in position["shards"]]
    for partition, shard in shards:
        assert counted_from_kafka(reading[partition], shard["last_id"]) == (shard["count"], shard["digest"])
    assert len({(partition, shard["count"]) for partition, shard in shards}) == len(shards), "nothing was counted twice"
    assert sum(len(records) for records in reading.values()) > len({header(r, "id") for rs in reading.values() for r in rs})


def test_the_newest_position_covers_everything_but_positions_and_then_it_is_quiet(
    infra: Infra, database: FreshDatabase, topics: tuple[str, str]
) -> None:
    async def scenario(speaker: Speaker) -> None:
        for subject in ("s-1", "s-2", "s-3"):
            await speaker.say(subject, 2)
        for _ in range(5):
            await speaker.relayed()
            await speaker.positions.turn()
        await speaker.say("s-4")
        for _ in range(5):
            await speaker.relayed()
            await speaker.positions.turn()

    speaking(infra, database, topics, scenario)
    reading = read(infra, topics[0])
    first, second = positions_in(reading)
    assert (first["count"], first["last_sequence"], len(first["shards"])) == (
        6,
        2,
        len({shard_of(f"s-{n}") for n in (1, 2, 3)}),
    )
    assert second["count"] == 6 + 1 + 1, "the first position counts too"


def test_what_is_not_sent_is_not_counted(infra: Infra, database: FreshDatabase, topics: tuple[str, str]) -> None:
    async def scenario(speaker: Speaker) -> None:
        await speaker.say("s-1")
        await speaker.relayed()
        await speaker.say("s-1", 5)
        await speaker.positions.turn()

    speaking(infra, database, topics, scenario)
    body = sql(database, "SELECT body FROM messaging.state WHERE kind = 'machinery'")[0]["body"]
    assert [shard["count"] for shard in json.loads(body)["shards"]] == [1]


def test_what_was_parked_is_not_counted(infra: Infra, database: FreshDatabase, topics: tuple[str, str]) -> None:
    async def scenario(speaker: Speaker) -> None:
        assert [answer.outcome for answer in await speaker.answers(*(broken() for _ in range(30)))] == ["parked"] * 30
        await speaker.relayed()
        assert not await speaker.positions.turn()
        await speaker.say("s-1")
        await speaker.relayed()
        await speaker.positions.turn()
        await speaker.relayed()

    speaking(infra, database, topics, scenario)
    assert [position["count"] for position in positions_in(read(infra, topics[0]))] == [1]


def test_many_parked_records_in_one_shard_do_not_hide_what_was_said_after_them(
    infra: Infra, database: FreshDatabase, topics: tuple[str, str]
) -> None:
    async def scenario(speaker: Speaker) -> None:
        await speaker.answers(*(broken() for _ in range(40)))
        await speaker.say("s-1")
        await speaker.relayed()
        while await speaker.positions.turn(per_shard=1):
            pass
        await speaker.relayed()

    speaking(infra, database, topics, scenario)
    assert max(position["count"] for position in positions_in(read(infra, topics[0]))) >= 1


def test_a_count_that_was_decided_on_an_older_turn_counts_for_nothing(
    infra: Infra, database: FreshDatabase, topics: tuple[str, str]
) -> None:
    async def scenario(speaker: Speaker) -> None:
        await speaker.say("s-1", 3)
        await speaker.relayed()
        stale = await speaker.positions._before()
        await speaker.positions.turn()
        rows = [
            {"partition": 1, "n": 99, "count": 50, "digest": 1, "sequence": 1, "last_id": "x", "rows": 1, "worth_telling": True}
        ]
        with suppress(Exception):
            await speaker.processor.handle([speaker.positions._message(stale.turn, rows)])

    speaking(infra, database, topics, scenario)
    body = json.loads(sql(database, "SELECT body FROM messaging.state WHERE kind = 'machinery'")[0]["body"])
    assert body["turn"] == 1
    assert sum(shard["count"] for shard in body["shards"]) == 3
