"""What sources say they have said is held against the record: what is missing shows, what is late is waited for."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from tests.support.kit import Record
from tests.support.stack import FreshDatabase, Infra

from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.intake import OutboxPosition
from contracts.operations import ShardPosition
from contracts.topics import OVERSIGHT
from messaging import machinery
from messaging.decision import NoContext
from messaging.metrics import Meters
from messaging.migrate import migrate
from messaging.parking import Policy
from messaging.processor import Processor
from oversight.consumer import ROUTES, Recorder
from oversight.reconciling import Reconciler, overview

INTAKE, TOPIC = "/rapport/intake", "intake.events.v1"
machinery.add_to(ROUTES)
_EMPTY = """
    TRUNCATE entry, claimed, reconciled, messaging.hearing, messaging.progress, messaging.state, messaging.inbox,
             messaging.outbox"""


@pytest.fixture(scope="module")
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    return fresh


@dataclass
class Source:
    """Intake, as Kafka has it: it says things and counts them."""

    said: dict[int, list[str]] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def say(self, partition: int, event_id: str) -> Record:
        """One event, whatever it says."""
        self.said.setdefault(partition, []).append(event_id)
        return self._record(partition, event_id, "care.rapport.intake.episode-opened.v1", b"{}")

    def again(self, partition: int, event_id: str) -> Record:
        """What the relay sends twice."""
        return self._record(partition, event_id, "care.rapport.intake.episode-opened.v1", b"{}")

    def position(self, event_id: str, *partitions: int, home: int = 7, digest: str | None = None) -> Record:
        """Says how much was said in these partitions, and counts for later ones itself."""
        self.now += timedelta(seconds=5)
        shards = tuple(self._shard(partition, digest) for partition in partitions)
        position = OutboxPosition(count=0, last_sequence=1, shards=shards, at=self.now)
        self.said.setdefault(home, []).append(event_id)
        return self._record(home, event_id, OutboxPosition.type, position.model_dump_json().encode())

    def _shard(self, partition: int, digest: str | None) -> ShardPosition:
        ids = self.said[partition]
        total = sum(int.from_bytes(sha256(each.encode()).digest()[:8], "big") for each in ids) % 2**64
        return ShardPosition(partition=partition, count=len(ids), last_id=ids[-1], digest=digest or f"{total:016x}")

    def _record(self, partition: int, event_id: str, event_type: str, value: bytes) -> Record:
        offset = self.offsets[partition] = self.offsets.get(partition, -1) + 1
        envelope = Envelope(id=event_id, source=INTAKE, type=event_type, time=self.now, subject=f"s-{partition}", sequence=1)
        return Record(tuple(to_headers(attributes_of(envelope))), value, TOPIC, partition, offset)


@dataclass
class Oversight:
    """One process of oversight without its broker."""

    pool: Any
    recorder: Recorder
    reconciler: Reconciler
    meters: Meters

    async def read(self, *records: Record) -> None:
        await self.recorder.take(records)

    async def read_past_everything(self) -> None:
        rows = [(TOPIC, part, datetime.now(UTC) + timedelta(days=1)) for part in range(12)]
        statement = "INSERT INTO messaging.progress (topic, part, read_up_to) VALUES ($1, $2, $3)"
        await self.pool.executemany(statement, rows)

    async def reconcile(self) -> list[tuple[str, int, str, int]]:
        """What does not agree after all that can be judged was judged."""
        await self.pool.execute("UPDATE claimed SET looked_at = '-infinity'")
        while await self.reconciler.turn():
            pass
        failed = (await overview(self.pool))["failed"]
        return [(f["source"], f["partition"], f["problem"], f["claimed"]) for f in failed]

    async def counted(self) -> int:
        sources = (await overview(self.pool))["sources"]
        return sources[0]["events"] if sources else 0

    async def said(self) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("SELECT value FROM messaging.outbox WHERE topic = $1 ORDER BY n", OVERSIGHT)
        return [json.loads(row["value"]) for row in rows]


@pytest.fixture
def use(database: FreshDatabase) -> Callable[[Callable[[Oversight, Source], Awaitable[Any]]], Any]:
    async def run(act: Callable[[Oversight, Source], Awaitable[Any]]) -> Any:
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute(_EMPTY)
        await owner.close()
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=3) as pool:
            meters, source = Meters(), "/rapport/oversight"
            policy = Policy("oversight.parked.v1", timedelta(hours=1), b"key")
            processor = Processor(pool, ROUTES, source, OVERSIGHT, NoContext(), policy, lambda *_: None)
            service: Any = SimpleNamespace(pool=pool, processor=processor, routes=ROUTES, source=source, meters=meters)
            return await act(Oversight(pool, Recorder(pool, b"k" * 16, meters), Reconciler(service), meters), Source())

    return lambda act: asyncio.run(run(act))


def test_claims_that_are_so_are_settled_and_later_ones_are_counted_on_from_there(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        await oversight.read(intake.say(1, "a"), intake.say(1, "b"), intake.say(2, "c"), intake.position("p1", 1, 2))
        assert await oversight.reconcile() == []
        assert await oversight.counted() == 3
        await oversight.read(intake.say(1, "d"), intake.position("p2", 1, 7))
        assert await oversight.reconcile() == []
        assert await oversight.counted() == 5
        assert await oversight.said() == []
        assert await oversight.pool.fetchval("SELECT count(*) FROM claimed") == 0

    use(act)


def test_a_claim_whose_events_are_on_their_way_waits(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        late = [intake.say(1, "a"), intake.say(1, "b")]
        await oversight.read(intake.position("p1", 1))
        assert await oversight.reconcile() == []
        assert await oversight.counted() == 0
        await oversight.read(*late)
        assert await oversight.reconcile() == []
        assert await oversight.counted() == 2

    use(act)


def test_an_event_that_is_not_on_record_is_said_once_shown_until_it_is_there_and_then_said_again(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        first, missing, last = (intake.say(1, each) for each in "abc")
        await oversight.read(first, last, intake.position("p1", 1))
        assert await oversight.reconcile() == [(INTAKE, 1, "differs", 3)]
        assert await oversight.reconcile() == [(INTAKE, 1, "differs", 3)]
        assert oversight.meters.registry.get_sample_value("reconciliation_failed") == 1
        await oversight.read(intake.say(1, "d"), intake.position("p2", 1))
        assert await oversight.reconcile() == [(INTAKE, 1, "differs", 3)], "later claims are counted on from there"
        await oversight.read(missing)
        assert await oversight.reconcile() == []
        assert [(said["claimed"], said["found"], said["resolved"]) for said in await oversight.said()] == [
            (3, 2, False), (3, 3, True),
        ]  # fmt: skip
        assert oversight.meters.registry.get_sample_value("reconciliation_failed") == 0

    use(act)


def test_a_newest_event_that_never_comes_is_missing_once_everything_was_read(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        first, missing = intake.say(1, "a"), intake.say(1, "b")
        await oversight.read(first, intake.position("p1", 1))
        assert await oversight.reconcile() == []
        await oversight.read_past_everything()
        assert await oversight.reconcile() == [(INTAKE, 1, "last-missing", 2)]
        await oversight.read(intake.say(1, "c"), intake.position("p2", 1))
        assert await oversight.reconcile() == [(INTAKE, 1, "last-missing", 2), (INTAKE, 1, "differs", 3)]
        await oversight.read(missing)
        assert await oversight.reconcile() == []
        await oversight.read(intake.say(1, "e"), intake.position("p3", 1))
        assert await oversight.reconcile() == []

    use(act)


def test_as_many_events_but_others_than_the_source_says_do_not_agree(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        real, last = intake.say(1, "a"), intake.say(1, "b")
        forged = Record(intake.again(1, "x").headers, b"{}", TOPIC, 1, real.offset)
        await oversight.read(forged, last, intake.position("p1", 1))
        assert await oversight.reconcile() == [(INTAKE, 1, "differs", 2)]

    use(act)


def test_what_was_sent_twice_or_read_twice_counts_once(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        records = [intake.say(1, "a"), intake.say(1, "b"), intake.again(1, "a"), intake.again(1, "b"), intake.say(1, "c")]
        position = intake.position("p1", 1)
        await oversight.read(*records, position)
        assert await oversight.reconcile() == []
        await oversight.read(*records, position)
        assert await oversight.reconcile() == []
        assert await oversight.counted() == 3
        assert await oversight.said() == []

    use(act)


def test_a_source_that_counts_backwards_is_said(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        await oversight.read(intake.say(1, "a"), intake.say(1, "b"), intake.position("p1", 1))
        assert await oversight.reconcile() == []
        intake.said[1] = ["a"]
        await oversight.read(intake.position("p2", 1))
        assert await oversight.reconcile() == [(INTAKE, 1, "counts-backwards", 1)]

    use(act)


def test_the_first_claim_about_a_partition_that_is_not_heard_from_its_beginning_is_believed(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        await oversight.pool.execute("INSERT INTO messaging.hearing VALUES ($1, 1, false)", TOPIC)
        intake.say(1, "a")
        await oversight.read(intake.say(1, "b"), intake.position("p1", 1))
        assert await oversight.reconcile() == []
        intake.say(1, "c")
        await oversight.read(intake.say(1, "d"), intake.position("p2", 1))
        assert await oversight.reconcile() == [(INTAKE, 1, "differs", 4)]

    use(act)


def test_a_position_that_nobody_can_read_is_recorded_and_claims_nothing(use: Any) -> None:
    async def act(oversight: Oversight, intake: Source) -> None:
        broken = intake.position("p1")
        await oversight.read(Record(broken.headers, b"{}", TOPIC, 7, 0))
        assert await oversight.reconcile() == []
        assert await oversight.pool.fetchval("SELECT count(*) FROM entry") == 1

    use(act)
