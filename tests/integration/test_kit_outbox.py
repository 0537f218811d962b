"""What was decided is said: nothing lost, in order per subject, whoever writes and whatever happens to the relay."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from tests.support import kit
from tests.support.kit import Replica, during, journal, outbox, said
from tests.support.stack import FreshDatabase, Infra

from messaging.decision import NoContext
from messaging.lease import Lease
from messaging.metrics import Meters
from messaging.outbox import MAX_VALUE, shard_of
from messaging.relay import Relay

APPEND = "SELECT messaging.append($1, $2, $3, $4, $5, $6, '{}')"


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


async def append(connection: Any, topic: str, rows: list[tuple[str, bytes]]) -> None:
    keys, values = [key for key, _ in rows], [value for _, value in rows]
    shards = [shard_of(key) for key in keys]
    headers = [json.dumps([("ce_id", value[:40].decode())]) for value in values]
    await connection.execute(APPEND, [1] * len(rows), shards, [topic] * len(rows), keys, headers, values)


def test_the_counter_of_a_subject_has_no_gap_over_many_batches_of_racing_replicas(database: FreshDatabase) -> None:
    subjects = [f"s-{n}" for n in range(5)]

    async def race(*made: Replica) -> None:
        await made[0].handle(*(said("w0", subject, do="open") for subject in subjects))

        async def write(replica: Replica, seed: int) -> None:
            chance = random.Random(seed)
            for turn in range(15):
                does = [chance.choice(("write", "refuse")) for _ in range(9)]
                await replica.handle(*(said(f"{seed}-{turn}", chance.choice(subjects), do=do) for do in does))

        await asyncio.gather(*(write(replica, seed) for seed, replica in enumerate(made)))

    during(database, race, count=3)
    said_about: dict[str, list[int]] = defaultdict(list)
    for key, sequence, _ in outbox(database):
        said_about[key].append(sequence)
    assert sum(map(len, said_about.values())) == 5 + 3 * 15 * 9
    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in said_about.values())


def test_within_a_shard_the_order_of_rows_is_the_order_of_commits(database: FreshDatabase) -> None:
    """Writers delay before and after they append, and some roll back; a reader by cursor sees every row, each key in order."""
    keys = [f"k-{n}" for n in range(20)]
    committed: dict[str, list[bytes]] = defaultdict(list)

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        connection = await asyncpg.connect(database.runtime_dsn)
        for _ in range(25):
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SELECT pg_current_xact_id(), pg_sleep($1)", chance.random() / 200)
            chosen = sorted(chance.sample(keys, 3))
            for key in chosen:
                await connection.execute("SELECT pg_advisory_xact_lock(1, hashtext($1))", key)
            rows = []
            for key in chosen:
                counted = await connection.fetchval(
                    """INSERT INTO messaging.state AS s (kind, subject, version, schema) VALUES ('count', $1, 1, 1)
                       ON CONFLICT (kind, subject) DO UPDATE SET version = s.version + 1 RETURNING version""", key
                )  # fmt: skip
                rows.append((key, f"{key}:{counted}".encode()))
            await append(connection, "t", rows)
            await connection.execute("SELECT pg_sleep($1)", chance.random() / 200)
            if chance.random() < 0.1:
                await transaction.rollback()
                continue
            await transaction.commit()
            for key, value in rows:
                committed[key].append(value)
        await connection.close()

    async def run() -> list[tuple[str, bytes]]:
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) as pool:
            producer = Broker()
            relay = relay_of(pool, producer)
            writing = asyncio.gather(*(write(seed) for seed in range(8)))
            while not writing.done():
                await relay.turn(per_shard=20)
            await writing
            while await relay.turn():
                pass
            await relay.discard_producer()
            return [(row[0], row[1]) for row in producer.log]

    sent: dict[str, list[bytes]] = defaultdict(list)
    for key, value in asyncio.run(run()):
        sent[key].append(value)
    assert sum(map(len, sent.values())) > 400
    assert sent == {key: [f"{key}:{n}".encode() for n in range(1, len(values) + 1)] for key, values in committed.items()}


class Batch:
    """As much of a batch of aiokafka as the relay needs, holding `most` records."""

    def __init__(self, most: int) -> None:
        self.most, self.records = most, list[tuple[str, bytes]]()

    def append(self, *, key: bytes, value: bytes, timestamp: Any, headers: Any) -> Any:
        if len(self.records) >= self.most:
            return None
        self.records.append((key.decode(), value))
        return self

    def close(self) -> None:
        return


class Broker:
    """A log and its producers; `fails` decides for each batch whether it is lost, or written though its answer is lost."""

    def __init__(self, fails: Callable[[], str | None] = lambda: None, most: int = 3) -> None:
        self.log: list[tuple[str, bytes]] = []
        self.fails, self.most, self.started, self.stopped = fails, most, 0, 0
        self.before: Callable[[], Awaitable[None]] | None = None

    def __call__(self) -> Any:
        return self

    async def start(self) -> None:
        self.started += 1

    async def stop(self) -> None:
        self.stopped += 1

    def create_batch(self) -> Batch:
        return Batch(self.most)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Any:
        if self.before:
            await self.before()

        async def acknowledged() -> None:
            await asyncio.sleep(0)
            how = self.fails()
            if how != "lost":
                self.log += batch.records
            if how:
                raise KafkaError

        return acknowledged()


def relay_of(pool: Any, producer: Any, owner: str = "one", lease: timedelta = timedelta(seconds=10)) -> Relay:
    return Relay(producer, Lease(pool, owner, lease), Meters())


def rows_of(database: FreshDatabase) -> list[tuple[int, str, bytes]]:
    """The outbox as (number, key, value), in its order."""
    return [tuple(row) for row in kit.sql(database, "SELECT n, key, value FROM messaging.outbox ORDER BY n")]


def first_occurrences(log: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    seen: dict[str, list[bytes]] = defaultdict(list)
    for key, value in log:
        if value not in seen[key]:
            seen[key].append(value)
    return dict(seen)


def test_an_error_of_the_producer_loses_nothing_and_first_occurrences_stay_in_order(database: FreshDatabase) -> None:
    keys = [f"k-{n}" for n in range(6)]
    chance = random.Random(7)
    broker = Broker(lambda: chance.choice((*[None] * 20, "lost", "unanswered")))

    async def run() -> None:
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) as pool:
            for n in range(30):
                await append(pool, "t", [(key, f"{key}:{n:02}".encode()) for key in keys])
            relay = relay_of(pool, broker)
            for _ in range(200):
                try:
                    if not await relay.turn(per_shard=7):
                        break
                except KafkaError:
                    continue
            await relay.discard_producer()

    asyncio.run(run())
    assert first_occurrences(broker.log) == {key: [f"{key}:{n:02}".encode() for n in range(30)] for key in keys}
    assert broker.started == broker.stopped > 1


def test_what_its_own_process_committed_is_sent_without_being_read_back(database: FreshDatabase) -> None:
    looks = 0

    async def run(replica: Replica) -> tuple[int, int, list[tuple[str, bytes]]]:
        broker = Broker(most=50)
        relay = relay_of(replica.pool, broker)
        looked = relay._lease.next

        async def look(*how: Any) -> Any:
            nonlocal looks
            looks += 1
            return await looked(*how)

        relay._lease.next = look  # type: ignore[assignment, method-assign]
        replica.processor._committed = relay.hand
        await replica.handle(said("w0", do="open"))
        assert not relay._handed, "a process that holds no shards keeps nothing"
        assert (await relay.turn(), looks) == (1, 1)
        relay._lease.look_at = inf
        await replica.handle(said("w1"), said("w1", "s-2", do="open"))
        await replica.handle(said("w2"))
        assert (await relay.turn(), looks) == (3, 1)
        assert (await relay.turn(), looks) == (0, 2), "and then the database is told"
        sent = await replica.pool.fetchval("SELECT max(sent) FROM messaging.relay")
        return sent, await replica.pool.fetchval("SELECT max(n) FROM messaging.outbox"), broker.log

    sent, last, log = during(database, run)
    assert sent == last
    assert [value for key, value in log if key == "s-1"] == [row[2] for row in rows_of(database) if row[1] == "s-1"]
    assert len(log) == 4


def test_what_another_process_wrote_in_between_is_not_overtaken(database: FreshDatabase) -> None:
    async def run(mine: Replica, other: Replica) -> list[tuple[str, bytes]]:
        broker = Broker(most=50)
        relay = relay_of(mine.pool, broker)
        mine.processor._committed = relay.hand
        await mine.handle(said("w1", do="open"))
        await relay.turn()
        for n in range(5):
            await other.handle(said(f"other-{n}"))
            await mine.handle(said(f"mine-{n}"))
            assert await relay.turn() == 2
        return broker.log

    log = during(database, run, count=2)
    assert [value for _, value in log] == [row[2] for row in rows_of(database)]


def test_what_was_lost_in_a_race_is_not_handed_over(database: FreshDatabase) -> None:
    rivals: list[Replica] = []

    async def load(connection: Any, messages: Any) -> Any:
        if len(messages) == 2:
            await rivals[0].handle(said("rival", "s-1"))
        return NoContext()

    async def run(replica: Replica) -> list[tuple[str, bytes]]:
        broker = Broker(most=50)
        relay = relay_of(replica.pool, broker)
        replica.processor._committed = relay.hand
        async with kit.replicas(database) as others:
            rivals.extend(others)
            await others[0].handle(said("w0", "s-1", do="open"), said("w0", "s-2", do="open"))
            await relay.turn()
            await replica.handle(said("w1", "s-1"), said("w1", "s-2"))
        while await relay.turn():
            pass
        return broker.log

    log = during(database, run, load=load)
    assert len(log) == len(set(log)) == 5
    assert {key: [v for k, v in log if k == key] for key in ("s-1", "s-2")} == {
        key: [row[2] for row in rows_of(database) if row[1] == key] for key in ("s-1", "s-2")
    }


def test_a_relay_that_was_away_while_another_took_over_cannot_move_the_cursor(database: FreshDatabase) -> None:
    async def run() -> tuple[int, int, list[tuple[str, bytes]]]:
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) as pool:
            await append(pool, "t", [("k", f"k:{n}".encode()) for n in range(5)])
            zombie_broker, broker = Broker(), Broker()
            zombie = relay_of(pool, zombie_broker, "zombie", lease=timedelta(milliseconds=50))
            successor = relay_of(pool, broker, "successor")

            async def away() -> None:
                zombie_broker.before = None
                await asyncio.sleep(0.1)
                await successor.turn(per_shard=2)

            zombie_broker.before = away
            await zombie.turn()
            zombie_turn = await zombie.turn()
            sent = await pool.fetchval("SELECT max(sent) FROM messaging.relay")
            while await successor.turn():
                pass
            return sent, zombie_turn, broker.log

    sent, zombie_turn, log = asyncio.run(run())
    assert (sent, zombie_turn) == (0, 0)
    assert log == [("k", f"k:{n}".encode()) for n in range(5)]


def test_of_relays_that_run_at_once_each_shard_has_one(database: FreshDatabase) -> None:
    async def run() -> list[tuple[str, bytes]]:
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=4) as pool:
            broker = Broker(most=50)
            relays = [relay_of(pool, broker, f"relay-{n}") for n in range(3)]
            for n in range(10):
                await append(pool, "t", [(f"k-{k}", f"{k}:{n}".encode()) for k in range(12)])
                await asyncio.gather(*(relay.turn() for relay in relays))
            return broker.log

    log = asyncio.run(run())
    assert len(log) == len(set(log)) == 120


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO messaging.outbox (shard, topic, key, headers, value) VALUES (0, 't', 'k', '[]', '')",
        "UPDATE messaging.outbox SET value = ''", "DELETE FROM messaging.outbox", "TRUNCATE messaging.outbox",
        "DELETE FROM messaging.state", "INSERT INTO messaging.relay VALUES (99)", "ALTER TABLE messaging.inbox ADD x int",
        "CREATE TABLE messaging.mine (x int)", "SET ROLE test_owner",
        "CREATE OR REPLACE FUNCTION messaging.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
    ],
)  # fmt: skip
def test_the_runtime_role_cannot_say_or_unsay_anything_by_itself(database: FreshDatabase, statement: str) -> None:
    async def scenario(replica: Replica) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await replica.pool.execute(statement)

    during(database, scenario)


def test_the_broker_takes_in_order_whatever_may_enter_the_outbox_however_large(infra: Infra, database: FreshDatabase) -> None:
    topic = infra.topics(["events"])["events"]
    sizes = [10, MAX_VALUE, 10, 600_000, 600_000, 300_000, 300_000, MAX_VALUE]
    rows = [("k", f"{n}:".encode().ljust(size, b"x")) for n, size in enumerate(sizes)]

    def producer() -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=infra.bootstrap, acks="all", enable_idempotence=True, max_batch_size=512 * 1024
        )

    async def run() -> list[bytes]:
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) as pool:
            await append(pool, topic, rows)
            wide = json.dumps([(f"ce_{n}", "é" * 500) for n in range(14)])
            await pool.execute(APPEND, [1], [shard_of("k")], [topic], ["é" * 500], [wide], [b"8:".ljust(MAX_VALUE, b"x")])
            relay = relay_of(pool, producer)
            assert await asyncio.wait_for(relay.turn(), 20) == len(rows) + 1
            assert await relay.turn() == 0
            await relay.discard_producer()
        reader = AIOKafkaConsumer(bootstrap_servers=infra.bootstrap, auto_offset_reset="earliest")
        await reader.start()
        reader.assign([TopicPartition(topic, shard_of("k"))])
        read: list[bytes] = []
        while len(read) < len(rows) + 1:
            read += [r.value for batch in (await reader.getmany(timeout_ms=500)).values() for r in batch]
        await reader.stop()
        return read

    read = asyncio.run(run())
    assert [(value[:2], len(value)) for value in read] == [
        (f"{n}:".encode(), size) for n, size in enumerate([*sizes, MAX_VALUE])
    ]


def test_what_the_broker_would_refuse_does_not_enter_the_outbox(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), said("w2", do="huge", arg=str(MAX_VALUE)), said("w3", source="/desk"))
        await replica.take(said("x" * 1_048_000, source="/broken", value=b"x" * 1_048_000))

    during(database, scenario)
    assert journal(database) == ["w1", "w3"]
    assert [row[0] for row in outbox(database)] == ["s-1", "s-1"]
    sizes = kit.sql(database, "SELECT max(length(value)) AS largest FROM messaging.outbox")
    assert sizes[0]["largest"] < 1000
