"""A service made of the kit alone, whose events say what its handler shall do; several replicas of it on real PostgreSQL."""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
from aiokafka import AIOKafkaProducer
from faststream.kafka import KafkaBroker
from tests.support.stack import FreshDatabase, Infra, query

from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.topics import CLINICAL
from messaging.consumer import Consumer, Deciding
from messaging.decision import Command, Decision, DueTimer, Early, Facts, NoContext, Refused, Timer
from messaging.door import Door
from messaging.membership import Membership
from messaging.message import Answer, Received
from messaging.metrics import Meters
from messaging.migrate import migrate
from messaging.parking import Policy
from messaging.processor import Processor
from messaging.received import bind, read
from messaging.routes import Kept, Routes, due, on
from messaging.snapshot import Load
from messaging.workers import Workers

SOURCE, OWN_TOPIC, PARKED_TOPIC = "/rapport/followup", "followup.events.v1", "followup.parked.v1"
PORTAL = "/portal"
Headers = tuple[tuple[str, bytes | None], ...]
_numbers = itertools.count(1)


class Said(Event):
    """A word for the journal of a subject, and what the handler shall do with it."""

    type: ClassVar[str] = "care.rapport.clinical.test-said.v1"

    word: str
    do: str = "write"
    arg: str = ""


class Asked(Command):
    """The same over HTTP."""

    type: ClassVar[str] = "command:test-ask"

    word: str
    do: str = "write"
    arg: str = ""


class Noted(Event):
    """What the service says for each word it wrote."""

    type: ClassVar[str] = "care.rapport.followup.test-noted.v1"

    word: str
    blob: str = ""


@dataclass(frozen=True)
class Journal:
    """The words of a subject in the order in which they were applied."""

    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept1:
    """An effect: one row of the service's own."""

    word: str


Outcome = Decision[Journal] | Refused | Early


def on_said(event: Said | Asked, journal: Journal | None, facts: Facts[Any]) -> Outcome:
    """When something is said, it is written down, unless it says otherwise."""
    if journal is None and event.do not in ("open", "raise", "nul", "exit"):
        return Early("journal-unknown")
    words = Journal((*(journal.words if journal else ()), event.word))
    said = [Noted(word=event.word)]
    if event.do == "raise":
        raise LookupError("a canary")
    if event.do == "refuse":
        return Refused("not-now", publish=said)
    if event.do == "early":
        return Early("not-yet")
    if event.do == "nul":
        return Decision(Journal((chr(0),)), publish=said)
    if event.do == "huge":
        return Decision(words, publish=[Noted(word=event.word, blob="x" * int(event.arg))])
    if event.do == "timer":
        name, seconds = event.arg.split("=")
        return Decision(words, publish=said, timers=[Timer(name, facts.now + timedelta(seconds=float(seconds)))])
    if event.do == "cancel":
        return Decision(words, publish=said, cancel=[event.arg])
    if event.do == "hasten":
        return Decision(words, publish=said, hasten=[event.arg])
    if event.do == "effect":
        return Decision(words, publish=said, effects=[Kept1(event.word)])
    if event.do == "exit":
        os._exit(9)
    if event.do == "exit-once" and not Path(event.arg).exists():
        Path(event.arg).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Decision(words, publish=said, reply={"number": len(words.words)})


def on_bell(timer: DueTimer, journal: Journal | None, facts: Facts[Any]) -> Outcome:
    """When the bell rings, that is written down too."""
    word = f"{timer.name}{'?' if timer.backlog_unread else ''}"
    return Decision(Journal((*(journal.words if journal else ()), word)), publish=[Noted(word=word)])


def on_broken_bell(timer: DueTimer, journal: Journal | None, facts: Facts[Any]) -> Outcome:
    """When this one rings, our code fails."""
    raise LookupError("a canary")


def on_early_bell(timer: DueTimer, journal: Journal | None, facts: Facts[Any]) -> Outcome:
    """When this one rings, its handler finds it too early, for ever."""
    return Early()


def on_first_bell(timer: DueTimer, journal: Journal | None, facts: Facts[Any]) -> Outcome:
    """When this one rings, the other bell is no longer wanted."""
    return Decision(Journal((*(journal.words if journal else ()), timer.name)), cancel=["bell"])


ROUTES = Routes(
    Kept(
        "journal", Journal, on(Said, on_said), on(Asked, on_said), due("bell", on_bell), due("broken", on_broken_bell),
        due("early", on_early_bell), due("first", on_first_bell),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """As much of a Kafka record as is read."""

    headers: Headers
    value: bytes | None
    topic: str = CLINICAL
    partition: int = 0
    offset: int = field(default_factory=lambda: next(_numbers))
    timestamp: int = 0
    timestamp_type: int = 1


def said(word: str, subject: str = "s-1", do: str = "write", arg: str = "", **changes: Any) -> Any:
    """A record as it comes from Kafka, with an id of its own; `changes` are attributes of its envelope or of the record."""
    number = next(_numbers)
    of_record = {name: changes.pop(name) for name in ("topic", "partition", "offset", "timestamp", "value") if name in changes}
    attributes = {"id": f"e-{number}", "source": PORTAL, "time": datetime.now(UTC), **changes}
    envelope = Envelope(type=Said.type, subject=subject, **attributes)
    value = Said(word=word, do=do, arg=arg).model_dump_json().encode()
    return Record(tuple(to_headers(attributes_of(envelope))), of_record.pop("value", value), **of_record)


def broken(value: bytes | None = b"{", headers: Headers = ()) -> Any:
    """A record that is no CloudEvent."""
    return Record(headers, value)


def with_header(record: Any, name: str, value: bytes | None) -> Any:
    """The same record with one more header."""
    return replace(record, headers=(*record.headers, (name, value)))


def typed(record: Any, event_type: str) -> Any:
    """The same record under another type."""
    return replace(record, headers=tuple((n, event_type.encode() if n == "ce_type" else v) for n, v in record.headers))


def received(record: Any, routes: Routes = ROUTES) -> Received:
    """The record as the processor takes it."""
    message = read(record, routes)
    assert message is not None
    return message


def asked(key: str, word: str, subject: str = "s-1", do: str = "write", arg: str = "", routes: Routes = ROUTES) -> Received:
    """A command as the door takes it."""
    command = Asked(word=word, do=do, arg=arg)
    return bind(envelope_of(key, subject), command.model_dump_json(exclude_none=True).encode(), routes)


def envelope_of(key: str, subject: str = "s-1") -> Envelope:
    """The envelope of a command with this Idempotency-Key."""
    return Envelope(id=key, source=f"{SOURCE}/http", type=Asked.type, subject=subject, time=datetime.now(UTC))


@dataclass
class Replica:
    """One process of the service, without its broker."""

    pool: "asyncpg.Pool[Any]"
    processor: Processor
    deciding: Deciding
    workers: Workers
    meters: Meters
    routes: Routes

    async def take(self, *records: Any) -> None:
        """A batch from Kafka, taken as the consumer loop takes it."""
        await self.deciding.take(records)

    async def handle(self, *records: Any) -> list[Answer]:
        """The answers to a batch from Kafka."""
        return await self.processor.handle([received(record, self.routes) for record in records])

    def consumer(self) -> Consumer:
        """The loop that never raises."""
        return Consumer(self.deciding.take, self.meters)

    def door(self, max_batch: int = 100, answer_within: float = 5.0) -> Door:
        """The door for commands; somebody has to turn it."""
        return Door(self.routes, self.processor, max_batch, answer_within)


@asynccontextmanager
async def replicas(
    database: FreshDatabase, count: int = 1, routes: Routes = ROUTES, load: Load | None = None,
    early_limit: timedelta = timedelta(hours=1),
) -> AsyncIterator[list[Replica]]:  # fmt: skip
    """So many processes of the service, each with a pool of its own."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            pool = await stack.enter_async_context(asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=4))
            policy, meters = Policy(PARKED_TOPIC, early_limit, b"key"), Meters()
            processor = Processor(
                pool, routes, SOURCE, OWN_TOPIC, NoContext() if load is None else load, policy, lambda *_: None
            )  # fmt: skip
            workers = Workers(pool, routes, processor, SOURCE)
            made.append(Replica(pool, processor, Deciding(routes, processor, meters), workers, meters, routes))
        yield made


def during(database: FreshDatabase, scenario: Callable[..., Awaitable[Any]], count: int = 1, **how: Any) -> Any:
    """Runs a scenario with so many replicas."""

    async def run() -> Any:
        async with replicas(database, count, **how) as made:
            return await scenario(*made)

    return asyncio.run(run())


_EMPTY = """
    TRUNCATE messaging.inbox, messaging.state, messaging.timer, messaging.parked, messaging.outbox, messaging.progress,
        messaging.stop, messaging.heard, messaging.hearing, messaging.pruned
        RESTART IDENTITY;
    UPDATE messaging.relay SET sent = 0, epoch = 0, owner = NULL, expires_at = '-infinity';
    CREATE OR REPLACE FUNCTION messaging.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';
    CREATE OR REPLACE FUNCTION messaging.effects(subjects text[], effects jsonb[]) RETURNS text[]
        LANGUAGE sql AS 'SELECT ''{}''::text[]';
    DROP TABLE IF EXISTS public.kept;
    DROP FUNCTION IF EXISTS public.slow() CASCADE"""


@cache
def _migrated(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "followup")
    return fresh


def emptied(infra: Infra) -> FreshDatabase:
    """The one migrated database of this session, as new."""
    database = _migrated(infra)
    as_owner(database, _EMPTY)
    return database


def as_owner(database: FreshDatabase, *statements: str) -> None:
    """Carries out statements, each may be many, as the owner of the schema."""

    async def run() -> None:
        connection = await asyncpg.connect(database.owner_dsn)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


def slow_inserts(database: FreshDatabase, table: str) -> None:
    """Each row takes its time, so that who takes rows in another order meets the others; for the rest of this test."""
    as_owner(
        database,
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END'",
        f"CREATE TRIGGER slow BEFORE INSERT ON messaging.{table} FOR EACH ROW EXECUTE FUNCTION public.slow()",
    )


def shift_clock(database: FreshDatabase, interval: str) -> None:
    """The database's clock goes by so much; for the rest of this test."""
    now = f"SELECT clock_timestamp() + interval '{interval}'"
    as_owner(database, f"CREATE OR REPLACE FUNCTION messaging.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $${now}$$")


def journal(database: FreshDatabase, subject: str = "s-1") -> list[str]:
    """What was written about a subject."""
    rows = query(database.owner_dsn, "SELECT body FROM messaging.state WHERE subject = $1 AND body IS NOT NULL", subject)
    return list(json.loads(rows[0]["body"])["words"]) if rows else []


def outbox(database: FreshDatabase, topic: str = OWN_TOPIC) -> list[tuple[str, int, str]]:
    """What will be said on a topic, in order: subject, sequence, word or reason."""
    rows = query(database.owner_dsn, "SELECT key, headers, value FROM messaging.outbox WHERE topic = $1 ORDER BY n", topic)
    return [(row["key"], int(dict(json.loads(row["headers"]))["ce_sequence"]), _word(json.loads(row["value"]))) for row in rows]


def _word(data: Any) -> str:
    return str(data.get("word") or data.get("reason"))


def parked(database: FreshDatabase) -> list[tuple[str, str, str | None, str]]:
    """What is set aside, in order: outcome, source, subject, reason."""
    rows = query(database.owner_dsn, "SELECT outcome, source, subject, reason FROM messaging.parked ORDER BY n")
    return [tuple(row) for row in rows]


def blocked(database: FreshDatabase, subject: str = "s-1") -> list[str]:
    """The sources whose lane of a subject is closed."""
    rows = query(database.owner_dsn, "SELECT blocked FROM messaging.state WHERE subject = $1", subject)
    return list(json.loads(rows[0]["blocked"])) if rows else []


def inbox(database: FreshDatabase) -> dict[tuple[str, str], str]:
    """What was done, and how it ended."""
    rows = query(database.owner_dsn, "SELECT source, id, outcome FROM messaging.inbox")
    return {(row["source"], row["id"]): row["outcome"] for row in rows}


def sql(database: FreshDatabase, statement: str, *values: object) -> list[asyncpg.Record]:
    """One statement as the owner."""
    return query(database.owner_dsn, statement, *values)


async def hurried(replica: Replica) -> None:
    """Everything that waits is to be looked at again now."""
    await replica.pool.execute("UPDATE messaging.parked SET retry_at = now() WHERE reason <> 'behind-parked'")


async def publish(bootstrap: str, topic: str, records: Sequence[Any], partition: int = 0) -> None:
    """Puts records into Kafka, in order."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for record in records:
            await producer.send(topic, record.value, partition=partition, headers=list(record.headers))


@asynccontextmanager
async def member(replica: Replica, bootstrap: str, topic: str, group: str) -> AsyncIterator[Membership]:
    """The replica as a member of a consumer group, until it leaves in order."""
    broker = KafkaBroker(bootstrap, logger=None, allow_auto_create_topics=False, apply_types=False)
    deciding = replica.deciding
    membership = Membership(
        broker, group, [topic], deciding.take, deciding.park, replica.pool, replica.meters, 500, 20, ahead=deciding.ahead
    )

    async def turn() -> None:
        while True:
            await membership.turned()
            await asyncio.sleep(0.1)

    await broker.start()
    turning = asyncio.create_task(turn())
    try:
        yield membership
    finally:
        turning.cancel()
        await membership.leave()
        await broker.stop()


async def until(holds: Callable[[], Awaitable[Any]], within: float = 20.0) -> Any:
    """What `holds` says once that is true; raises TimeoutError."""
    async with asyncio.timeout(within):
        while not (answer := await holds()):
            await asyncio.sleep(0.05)
    return answer


async def _run_until_written(runtime_dsn: str, bootstrap: str, topic: str, group: str, last: str) -> None:
    async with replicas(FreshDatabase("", "", runtime_dsn)) as (replica,), member(replica, bootstrap, topic, group):
        written = "SELECT 1 FROM messaging.state WHERE body::text LIKE '%' || $1 || '%'"
        await until(lambda: replica.pool.fetchval(written, last), 30)


def words(count: int, start: int = 1) -> Sequence[str]:
    """w1, w2 and so on."""
    return [f"w{n}" for n in range(start, start + count)]


if __name__ == "__main__":
    asyncio.run(_run_until_written(*sys.argv[1:]))
