"""A small world in which one service lives, dies at a chosen point and lives again, and what must be true afterwards."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from tests.crash.invariants import FACTS, Expected, compared, relayed, said_in_order
from tests.support import kit
from tests.support.crashing import Fault, Life, Point, Source
from tests.support.stack import FreshDatabase

from contracts.topics import PARTITIONS, parked_topic
from messaging.decision import Decision, NoContext, Timer
from messaging.routes import Kept, Routes, due, on
from messaging.service import Service
from messaging.settings import KitSettings

ROLES = ("serve", "consume", "relay", "timers")
PLACE = TopicPartition
WITHIN = 40.0
_lives = count(1)
During = Callable[["World", Life, Service], Coroutine[Any, Any, None]]

EFFECTS = """
    CREATE TABLE public.kept (n bigint GENERATED ALWAYS AS IDENTITY, subject text, word text);
    GRANT ALL ON public.kept TO PUBLIC;
    CREATE OR REPLACE FUNCTION messaging.effects(subjects text[], effects jsonb[]) RETURNS text[] LANGUAGE sql AS
    'INSERT INTO public.kept (subject, word) SELECT s, e ->> ''word'' FROM unnest(subjects, effects) AS x (s, e);
     SELECT ''{}''::text[]'"""
EMPTY = """
    TRUNCATE messaging.inbox, messaging.state, messaging.timer, messaging.parked, messaging.outbox, messaging.progress,
             public.kept RESTART IDENTITY;
    UPDATE messaging.relay SET sent = 0, epoch = 0, owner = NULL, expires_at = '-infinity'"""
# Leases run out; and a process that dies again is not the third that got nowhere, unless that is the scenario.
EXPIRED = "UPDATE messaging.relay SET expires_at = '-infinity'"
AGAIN = f"{EXPIRED}; UPDATE messaging.progress SET attempts = 0, kills = 0, suspect = NULL, accused = NULL"


@dataclass
class Scenario:
    """What happens to the service: records, commands, faults, and what else is going on; how it may end.

    One that does not go on is stopped by what happens during its first life, and does its work in the next.
    """

    name: str
    records: Callable[["World"], Sequence[Any]]
    ends: Callable[["World"], Sequence[Expected]]
    commands: Sequence[tuple[str, str, str]] = ()
    before: Callable[["World"], Awaitable[None]] | None = None
    during: During | None = None
    load: Callable[["World"], Callable[[Any, Any], Awaitable[Any]]] | None = None
    faults: Callable[[], Sequence[Fault]] = tuple
    max_batch: int = 10
    at_once: int = 6
    goes_on: bool = True


class Process(Service):
    """The service without its port."""

    async def _serve(self) -> None:
        await self.stopping.wait()


@dataclass
class World:
    """A database, two topics and a group of one service, used by one run after the other."""

    source: Source
    bootstrap: str
    database: FreshDatabase
    name: str
    violations: list[str] = field(default_factory=list)
    fell: list[Point] = field(default_factory=list)
    start: int = 0

    def __post_init__(self) -> None:
        self.inbound, self.outbound, self.aside = topics_of(self.name)
        self.group = f"rapport-{self.name}"

    async def open(self) -> None:
        """Connections of the world itself, which nothing disturbs."""
        self.sql = await asyncpg.connect(self.database.owner_dsn)
        self.elsewhere = await asyncpg.connect(self.database.owner_dsn)
        await self.sql.execute(EFFECTS)
        self.producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await self.producer.start()
        self.reader = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50)
        await self.reader.start()
        self.places = [PLACE(topic, part) for topic in (self.outbound, self.aside) for part in range(PARTITIONS)]
        self.admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await self.admin.start()

    async def close(self) -> None:
        """Closes them."""
        await self.admin.close()
        await self.sql.close()
        await self.elsewhere.close()
        await self.producer.stop()
        await self.reader.stop()

    async def publish(self, *records: Any) -> None:
        for record in records:
            await self.producer.send(self.inbound, record.value, partition=0, headers=list(record.headers))
        await self.producer.flush()

    def _service(self, scenario: Scenario) -> Process:
        routes = Routes(
            Kept(
                "journal", kit.Journal, on(kit.Said, on_said), on(kit.Asked, kit.on_said), due("bell", kit.on_bell),
                due("broken", kit.on_broken_bell), due("early", kit.on_early_bell),
            )
        )  # fmt: skip
        routes.topics = (self.inbound,)
        settings = KitSettings.model_validate(
            {
                "postgres_dsn": self.database.runtime_dsn, "kafka_bootstrap": self.bootstrap,
                "secret_key": "only-for-this-test",
                "max_batch": scenario.max_batch, "poll_idle": timedelta(milliseconds=5), "stop_within": timedelta(seconds=5),
            }
        )  # fmt: skip
        load = scenario.load(self) if scenario.load else _look_once
        service = Process("followup", settings, routes, load)
        service.name, service.topic = self.name, self.outbound
        return service

    async def run(self, scenario: Scenario, *targets: Point) -> Life:
        """Life after life, each to its death at one of the targets, until one comes to its end; the first one is told of."""
        found = len(self.violations)
        await self.sql.execute(EMPTY)
        self.start = (await self.reader.end_offsets([PLACE(self.inbound, 0)]))[PLACE(self.inbound, 0)]
        ends = await self.reader.end_offsets(self.places)
        if scenario.before:
            await scenario.before(self)
        await self.publish(*scenario.records(self))
        first = life = Life(self.source, targets, scenario.faults())
        answers, fell = dict[str, Any](), list[Point]()
        await self._live(life, scenario, answers, scenario.during)
        while life.fell or (life is first and not scenario.goes_on):
            fell += [life.fell] if life.fell else []
            await self.sql.execute(AGAIN if len(targets) > 1 else EXPIRED)
            life = Life(self.source, set(targets) - set(fell))
            await self._live(life, scenario, answers, None)
        await self._check(scenario, ends)
        if len(self.violations) > found:
            label = f"{scenario.name}, killed {'; then '.join(map(str, fell)) or 'nowhere'}"
            self.violations[found:] = [f"{label}: {said}" for said in self.violations[found:]]
            await self._forgive()
        self.fell += fell
        return first

    async def _live(self, life: Life, scenario: Scenario, answers: dict[str, Any], during: During | None) -> None:
        service = life.make(lambda: self._service(scenario))
        running = life.start(self._named(service))
        asking = [life.start(self._ask(service, *command, answers)) for command in scenario.commands]
        happening = [asyncio.create_task(during(self, life, service))] if during else []
        crashed = asyncio.create_task(life.crashed.wait())
        settled = asyncio.create_task(self._settled(scenario, last=not life.faults))
        await asyncio.wait([crashed, settled, running], return_when=asyncio.FIRST_COMPLETED)
        if settled.done():
            settled.result()
        if not life.dead:
            await self._over([*asking, *happening], crashed)
            service.stopping.set()
            await asyncio.wait([crashed, running], return_when=asyncio.FIRST_COMPLETED, timeout=WITHIN)
        for task in (crashed, settled):
            task.cancel()
        if not life.dead and not running.done():
            self.violations.append("the service does not stop")
        elif not life.dead and (error := running.exception()):
            self.violations.append(f"the service ended with {error!r}")
        await life.die() if life.dead else await self._forget(life)
        await asyncio.wait([crashed, settled, *happening], timeout=WITHIN)

    async def _over(self, tasks: "Sequence[asyncio.Task[Any]]", crashed: "asyncio.Task[Any]") -> None:
        for task in tasks:
            await asyncio.wait([task, crashed], return_when=asyncio.FIRST_COMPLETED, timeout=WITHIN)

    async def _named(self, service: Process) -> None:
        """As if it were another process each time."""
        opened = service.open

        async def open_() -> None:
            await opened()
            service.lease.owner = f"life-{next(_lives)}"

        service.open = open_  # type: ignore[method-assign]
        await service.run(ROLES)

    async def _forget(self, life: Life) -> None:
        life.dead = True
        for task in life.tasks:
            task.cancel()

    async def _ask(self, service: Process, key: str, subject: str, do: str, answers: dict[str, Any]) -> None:
        """A caller who asks again with the same key until it is answered."""
        while not hasattr(service, "door"):
            await asyncio.sleep(0.005)
        error: Exception | None = None
        for _ in range(20):
            try:
                answer = await service.door.handle(kit.envelope_of(key, subject), kit.Asked(word=key, do=do))
            except Exception as why:
                error = why
                await asyncio.sleep(0.1)
                continue
            told = answers.setdefault(key, (answer.outcome, answer.reply))
            if told != (answer.outcome, answer.reply):
                self.violations.append(f"{key} was answered {told} and then {answer.outcome, answer.reply}")
            return
        self.violations.append(f"{key} was never answered, the last time for {error!r}")

    async def _facts(self) -> dict[str, Any]:
        (row,) = await self.sql.fetch(FACTS)
        return {name: json.loads(value) if isinstance(value, str) else value or [] for name, value in row.items()}

    async def _wrong(self, scenario: Scenario) -> list[str]:
        facts = await self._facts()
        return min((compared(expected, facts) for expected in scenario.ends(self)), key=len)

    async def _settled(self, scenario: Scenario, last: bool) -> None:
        until = asyncio.get_running_loop().time() + WITHIN
        while wrong := await self._wrong(scenario) or (last and await self._offsets()):
            if asyncio.get_running_loop().time() > until:
                self.violations.append(f"stuck: {'; '.join(wrong)}")
                return
            await asyncio.sleep(0.05)

    async def _check(self, scenario: Scenario, ends: Mapping[TopicPartition, int]) -> None:
        self.violations += await self._wrong(scenario)
        rows = await self.sql.fetch("SELECT n, shard, topic, key, headers, value FROM messaging.outbox ORDER BY n")
        said = [row for row in rows if row["topic"] == self.outbound]
        self.violations += said_in_order(said, await self._journals())
        self.violations += relayed(rows, await self._read(ends))
        self.violations += await self._offsets()

    async def _journals(self) -> dict[str, list[str]]:
        return dict((await self._facts())["journals"])

    async def _offsets(self) -> list[str]:
        place = PLACE(self.inbound, 0)
        try:
            found = (await self.admin.list_consumer_group_offsets(self.group)).get(place)
        except KafkaError as error:
            return [f"nobody knows the offsets: {error!r}"]
        end = (await self.reader.end_offsets([place]))[place]
        return [] if found and found.offset == end else [f"offset {found and found.offset} is committed and not {end}"]

    async def _forgive(self) -> None:
        """What a failed run left unread is not the next one's."""
        place = PLACE(self.inbound, 0)
        group = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.group, enable_auto_commit=False)
        await group.start()
        group.assign([place])
        with suppress(KafkaError):
            await group.commit({place: (await group.end_offsets([place]))[place]})
        await group.stop()

    async def _read(self, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[str]]:
        """The ids that reached the broker since then, in order."""
        now = await self.reader.end_offsets(self.places)
        ids: dict[TopicPartition, list[str]] = defaultdict(list)
        missing = [place for place in self.places if now[place] > ends[place]]
        self.reader.assign(missing)
        for place in missing:
            self.reader.seek(place, ends[place])
        while missing:
            for place, records in (await self.reader.getmany(timeout_ms=100)).items():
                ids[place] += [dict(record.headers)["ce_id"].decode() for record in records]
            missing = [place for place in missing if await self.reader.position(place) < now[place]]
        self.reader.unsubscribe()
        return ids


def on_said(event: kit.Said, journal: kit.Journal | None, facts: Any) -> kit.Outcome:
    """The kit's handler, which may also set a limit on somebody's answer."""
    if event.do != "limit":
        return kit.on_said(event, journal, facts)
    words = kit.Journal((*(journal.words if journal else ()), event.word))
    return Decision(words, publish=[kit.Noted(word=event.word)], timers=[Timer("bell", facts.now, None)])


async def _look_once(connection: Any, _: Any) -> NoContext:
    await connection.fetchval("SELECT 1")
    return NoContext()


def topics_of(world: str) -> tuple[str, str, str]:
    """What a world reads, what it says, and where it announces what it parked."""
    return f"{world}.inbound", f"{world}.said", parked_topic(world)
