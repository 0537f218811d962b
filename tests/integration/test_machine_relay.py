"""Whoever writes and whatever becomes of relays and brokers: in each shard every event is sent, first occurrences in order."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from time import monotonic
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from tests.support.machines import Machine, run_often
from tests.support.stack import Infra

from contracts.topics import PARTITIONS
from messaging.draft import WRITE, Draft
from messaging.lease import Lease
from messaging.metrics import Meters
from messaging.outbox import shard_of
from messaging.relay import Relay

APPEND = "SELECT messaging.append($1, $2, $3, $4, $5, $6, '{}')"
PASSED = """
    SELECT o.shard, count(*) FROM messaging.outbox o JOIN messaging.relay r USING (shard) WHERE o.n <= r.sent GROUP BY 1"""
# Four shards, two keys in one of them.
KEYS = ("k-1", "k-2", "k-3", "k-4", next(f"k-{n}" for n in range(5, 99) if shard_of(f"k-{n}") == shard_of("k-1")))
A_DAY = timedelta(days=1)
faults = st.lists(st.sampled_from((None, None, "before", "after")), max_size=4)
keys, per_shard, relays = st.lists(st.sampled_from(KEYS), min_size=1, max_size=5), st.integers(1, 4), st.sampled_from((0, 1))


@dataclass
class Producer:
    """A real one, whose batches are lost before they are sent, or whose acknowledgements are."""

    bootstrap: str
    trouble: list[str | None]
    meanwhile: list[Callable[[], Awaitable[Any]]]
    real: Any = field(init=False)

    async def start(self) -> None:
        self.real = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        await self.real.start()

    async def stop(self) -> None:
        await self.real.stop()

    def create_batch(self) -> Any:
        return self.real.create_batch()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        if self.meanwhile:
            await self.meanwhile.pop()()
        fault = self.trouble.pop() if self.trouble else None
        if fault == "before":
            raise KafkaError
        acknowledged = await self.real.send_batch(batch, topic, partition=partition)
        if fault == "after":
            await acknowledged
            raise KafkaError
        return acknowledged


class Relays(Machine):
    """The model: what was committed to each shard, in order; who holds the shards; and what a reader finds in Kafka."""

    def __init__(self, infra: Infra, topic: str) -> None:
        super().__init__(infra)
        self.bootstrap, self.topic = infra.bootstrap, topic
        self.names, self.numbers = count(1), count(1)
        self.written: dict[int, list[str]] = defaultdict(list)
        self.read: dict[int, list[str]] = defaultdict(list)
        self.trouble: list[str | None] = []
        self.meanwhile: list[Callable[[], Awaitable[Any]]] = []
        self.holder, self.free = "", True
        self.run(self._opened())

    async def _opened(self) -> None:
        self.pool: Any = await asyncpg.create_pool(self.database.runtime_dsn, min_size=1, max_size=3)
        self.reader: Any = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, fetch_max_wait_ms=10)
        await self.reader.start()
        self._open.push_async_callback(self.pool.close)
        self._open.push_async_callback(self.reader.stop)
        self.places = [TopicPartition(self.topic, part) for part in range(PARTITIONS)]
        self.reader.assign(self.places)
        await self.reader.seek_to_end(*self.places)
        self.relays = [self._relay(), self._relay()]

    def _relay(self) -> Relay:
        lease = Lease(self.pool, f"relay-{next(self.names)}", A_DAY)
        return Relay(lambda: Producer(self.bootstrap, self.trouble, self.meanwhile), lease, Meters())

    def _rows(self, keys: Sequence[str]) -> list[tuple[str, str]]:
        return [(key, f"{key}:{next(self.numbers)}") for key in keys]

    async def _append(self, connection: Any, rows: Sequence[tuple[str, str]]) -> None:
        keys, words = [key for key, _ in rows], [word for _, word in rows]
        headers = [json.dumps([("ce_id", word)]) for word in words]
        shards, values = list(map(shard_of, keys)), [word.encode() for word in words]
        await connection.execute(APPEND, [1] * len(rows), shards, [self.topic] * len(rows), keys, headers, values)

    def _committed(self, rows: Sequence[tuple[str, str]]) -> None:
        for key, word in rows:
            self.written[shard_of(key)].append(word)

    @rule(keys=keys)
    def write(self, keys: list[str]) -> None:
        rows = self._rows(keys)
        self.run(self._append(self.pool, rows))
        self._committed(rows)

    @rule(keys=keys, to=relays, turns=st.booleans())
    def write_and_hand_over(self, keys: list[str], to: int, turns: bool) -> None:
        """As a service does: the relay of its own process is told where the batch stands."""
        if turns:
            self.turn(to, 4, [])
        rows = self._rows(keys)
        draft = Draft("/rapport/followup", self.topic, datetime.now(UTC))
        draft.out = [(1, shard_of(key), self.topic, key, json.dumps([("ce_id", word)]), word.encode()) for key, word in rows]
        ((_, *told),) = self.run(self.pool.fetch(WRITE, *draft.columns()))
        self.relays[to].hand([row[1:] for row in draft.out], zip(*told, strict=True))
        self._committed(rows)

    @rule(keys=keys, others=keys, commits=st.booleans(), by=relays, most=per_shard)
    def be_written_by_a_slow_one_while_another_writes_and_a_relay_turns(
        self, keys: list[str], others: list[str], commits: bool, by: int, most: int
    ) -> None:
        """Who has the shard first is first in it, though it commits last."""
        slow, quick = self._rows(keys), self._rows(others)

        async def wrote() -> None:
            async with self.pool.acquire() as connection:
                transaction = connection.transaction()
                await transaction.start()
                await self._append(connection, slow)
                other = asyncio.create_task(self._append(self.pool, quick))
                await asyncio.sleep(0.005)
                await self._turn(by, most)
                await (transaction.commit() if commits else transaction.rollback())
                await other

        self.run(wrote())
        self._committed(slow if commits else [])
        self._committed(quick)

    @rule(by=relays, most=per_shard, faults=faults)
    def turn(self, by: int, most: int, faults: list[str | None]) -> None:
        self.run(self._turn(by, most, faults))

    async def _turn(self, by: int, most: int, faults: Sequence[str | None] = ()) -> None:
        """One that has lost its shards to another, and does not know, sends no more than what it has in hand."""
        relay, sent = self.relays[by], -1
        self._leased(relay)
        holds = self.holder == relay._lease.owner or bool(relay._handed)
        self.trouble[:] = faults
        with suppress(KafkaError):
            sent = await relay.turn(most)
        self.trouble.clear()
        assert holds or sent == 0

    def _leased(self, relay: Relay) -> None:
        if monotonic() >= relay._lease.renew_at and self.free:
            self.holder, self.free = relay._lease.owner, False

    @rule()
    def let_the_lease_run_out(self) -> None:
        self.run(self._expired())

    async def _expired(self) -> None:
        await self.owner.execute("UPDATE messaging.relay SET expires_at = '-infinity'")
        self.free = True

    @rule(by=relays)
    def doubt(self, by: int) -> None:
        self.relays[by]._lease.doubt()

    @rule(by=relays, most=per_shard, faults=faults)
    def freeze_while_another_takes_over(self, by: int, most: int, faults: list[str | None]) -> None:
        """It has its rows in hand; when it wakes, the other has sent some of them."""

        async def took_over() -> None:
            await self._expired()
            self.relays[1 - by]._lease.doubt()
            trouble, self.trouble[:] = list(self.trouble), []
            await self._turn(1 - by, most)
            self.trouble[:] = trouble

        async def frozen() -> None:
            self.meanwhile[:] = [took_over]
            await self._turn(by, most + 1, faults)
            self.meanwhile.clear()
            await self._turn(by, most)

        self.run(frozen())

    @rule(by=relays)
    def die(self, by: int) -> None:
        """What it had sent since its last turn nobody knows; its successor has another name."""
        self.run(self.relays[by].discard_producer())
        self.relays[by] = self._relay()

    @rule(by=relays)
    def send_all_that_is_left(self, by: int) -> None:
        async def drained() -> None:
            await self._expired()
            self.relays[by]._lease.doubt()
            self._leased(self.relays[by])
            while await self.relays[by].turn(3):
                pass

        self.run(drained())
        self.look()
        assert self.first() == {shard: words for shard, words in self.written.items() if words}

    def look(self) -> None:
        """Reads what has come to Kafka since the last look."""
        self.run(self._looked())

    async def _looked(self) -> None:
        ends = await self.reader.end_offsets(self.places)
        while any([await self.reader.position(place) < ends[place] for place in self.places]):
            for place, records in (await self.reader.getmany(timeout_ms=200)).items():
                self.read[place.partition] += [record.value.decode() for record in records]

    def first(self) -> dict[int, list[str]]:
        """First occurrences of each shard."""
        return {shard: list(dict.fromkeys(words)) for shard, words in self.read.items()}

    @invariant()
    def what_came_is_the_beginning_of_what_was_written_and_no_cursor_is_ahead_of_it(self) -> None:
        self.look()
        for shard, came in self.first().items():
            assert came == self.written[shard][: len(came)]
        passed = self.run(self.owner.fetch(PASSED))
        assert all(number <= len(self.first().get(shard, [])) for shard, number in passed)

    def teardown(self) -> None:
        for relay in self.relays:
            self.run(relay.discard_producer())
        super().teardown()


def test_each_shard_is_sent_whole_and_in_order_whatever_becomes_of_its_relays(infra: Infra) -> None:
    run_often(partial(Relays, infra, infra.topics(["events"])["events"]), examples=20, steps=20)
