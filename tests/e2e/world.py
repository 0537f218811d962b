"""Everybody around a running stack: people who answer, integrators who send, and an ear on everything the services say."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner, Result

from cli.app import app
from cli.demo.people import Part, Person, therapists
from cli.demo.playing import Playground
from cli.demo.record import Record
from cli.demo.referring import Referrer, list_therapist
from cli.demo.simulator import Reply, Simulator
from cli.demo.tally import Sent, Tally
from cli.events.kafka import PARKED
from cli.stack import Stack
from contracts.event import Event
from contracts.intake import ReferralAccepted, ReferralRefused
from contracts.parked import RecordParked
from contracts.record import read_record
from contracts.topics import PARTITIONS

T = TypeVar("T")
Headers = list[tuple[str, bytes]]
Place = tuple[str, int, int]


@dataclass
class Heard:
    """What the services said: the demo's own record of it, the answer to each referral, and what was parked by whom."""

    record: Record = field(default_factory=Record)
    answers: dict[Sent, Event] = field(default_factory=dict)
    answered_at: dict[Sent, float] = field(default_factory=dict)
    parked: dict[tuple[str, Place], RecordParked] = field(default_factory=dict)

    def of_an_owner(self, record: Any) -> None:
        """One record of intake's, matching's or followup's topic."""
        self.record.observe(record)
        envelope, _ = read_record(record.headers, record.value)
        event = self.record.episodes[envelope.subject or ""][-1][1]
        if isinstance(event, ReferralAccepted | ReferralRefused):
            sent = event.referral_source, event.referral_id
            self.answers[sent] = event
            self.answered_at.setdefault(sent, monotonic())

    def of_parking(self, record: Any) -> None:
        """One record of a parked topic."""
        parked = RecordParked.model_validate_json(record.value)
        self.parked[record.topic.split(".")[0], (parked.topic, parked.partition, parked.offset)] = parked


@dataclass(slots=True)
class Bystanders(Simulator):
    """Everybody answers, but about the episodes that a test plays itself."""

    left_alone: set[str] = field(default_factory=set)

    def react(self, headers: Iterable[tuple[str, bytes]], value: bytes) -> list[Reply]:
        """Nothing about an episode that is left alone."""
        alone = dict(headers).get("ce_subject", b"").decode() in self.left_alone
        return [] if alone else Simulator.react(self, headers, value)


class World:
    """A context in which everybody answers; its own loop runs in a thread, so that tests stay plain functions."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.heard = Heard()
        self.parts: dict[str, Part] = {}
        self.bystanders = Bystanders(self.parts, sessions=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="world", daemon=True)
        self._closing = AsyncExitStack()
        self._http = httpx.Client(timeout=30)

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._http.close()
        self.call(self._closing.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def tally(self) -> Tally:
        """What became of every referral, counted from the topics."""
        return self.heard.record.tally

    def call(self, act: Coroutine[Any, Any, T], within: float = 60) -> T:
        """The result of a coroutine that runs in the world's own loop."""
        return self.begin(act).result(within)

    def begin(self, act: Coroutine[Any, Any, T]) -> Future[T]:
        """Starts a coroutine in the world's loop and goes on."""
        return asyncio.run_coroutine_threadsafe(act, self._loop)

    def until(self, look: Callable[[], T | None], what: str, within: float = 10) -> T:
        """The first true answer; fails the test with `what` was waited for in vain."""
        deadline = monotonic() + within
        while not (seen := look()):
            self._listens()
            if monotonic() > deadline:
                pytest.fail(f"{what}: not within {within:g} s")
            sleep(0.02)
        return seen

    def list_therapists(self, count: int) -> None:
        """So many therapists, each with more places than all tests need, known to matching when this returns."""
        listed = list(therapists(count, seed=11, capacity=100))
        self.call(self._list(listed))
        for name, _ in listed:
            path = f"/v1/therapists/{name}"
            self.until(lambda path=path: self.get("matching", path).is_success, f"matching knows {name}")  # type: ignore[misc]

    def get(self, service: str, path: str, **request: Any) -> httpx.Response:
        """One GET to a service's API."""
        return self._http.get(self.stack.http_url(service) + path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        """One POST to intake, which has all the doors."""
        return self._http.post(self.stack.http_url("intake") + path, **request)

    def send(self, topic: str, key: str, value: bytes | None, headers: Headers) -> Place:
        """One record, acknowledged by the broker; where it lies."""
        return self.call(self._send(topic, key, value, headers))

    async def refer(self, person: Person) -> Sent:
        """One referral through the door its person takes, sent until it is acknowledged."""
        return await self._referrer.refer(person)

    def parked(self, service: str, place: Place) -> RecordParked:
        """What a service announced about a record that it parked."""
        return self.until(lambda: self.heard.parked.get((service, place)), f"{service} parks the record at {place}")

    def answer_to(self, sent: Sent) -> Event:
        """What the referrer was told: ReferralAccepted or ReferralRefused."""
        return self.until(lambda: self.heard.answers.get(sent), f"intake answers the referral {sent}")

    def stand(self, sent: Iterable[Sent], fate: str = "follow-up", within: float = 30) -> None:
        """Waits until each of these clients stands there."""
        wanted = list(sent)
        deadline = monotonic() + within
        while elsewhere := {one: self.tally.fate(one) for one in wanted if self.tally.fate(one) != fate}:
            self._listens()
            if monotonic() > deadline:
                some = "\n".join(
                    f"  {one}: {where} {self.heard.answers.get(one)}" for one, where in list(elsewhere.items())[:10]
                )
                pytest.fail(f"{len(elsewhere)} of {len(wanted)} clients are not in {fate} after {within:g} s:\n{some}")
            sleep(0.02)

    def be_quiet(self, seconds: float = 0.7) -> None:
        """Waits until nothing was said for a while."""
        self.until(lambda: self._playground.quiet_for() > seconds, "the services fall silent", within=30)

    async def _open(self) -> None:
        bootstrap = self.stack.kafka_bootstrap
        playground = Playground(bootstrap, self.bystanders, self.heard.of_an_owner)
        self._playground = await self._closing.enter_async_context(playground)
        self._referrer = Referrer(playground.producer, lambda: self.stack.http_url("intake"))
        self._closing.push_async_callback(self._referrer.close)
        ear = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=100)
        await ear.start()
        ear.assign([TopicPartition(topic, n) for topic in PARKED for n in range(PARTITIONS)])
        self._listening = asyncio.create_task(self._listen(ear))
        self._closing.push_async_callback(ear.stop)
        self._closing.callback(self._listening.cancel)

    def _listens(self) -> None:
        """Raises what ended the listening, so that no test waits for what nobody would hear."""
        self._playground.quiet_for()
        if self._listening.done():
            self._listening.result()

    async def _listen(self, ear: AIOKafkaConsumer) -> None:
        async for record in ear:
            self.heard.of_parking(record)

    async def _list(self, listed: Iterable[Any]) -> None:
        for name, listing in listed:
            await list_therapist(self._playground.producer, name, listing)
        await self._playground.producer.flush()

    async def _send(self, topic: str, key: str, value: bytes | None, headers: Headers) -> Place:
        sent = await self._playground.producer.send_and_wait(topic, value, key=key.encode(), headers=headers)
        return sent.topic, sent.partition, sent.offset


def rapport(stack: Stack, *words: str) -> Result:
    """The command on this stack; an error that it foresaw is in `exception`, as the sentence a person would read."""
    home = [] if words[0] == "validate" else ["--home", str(stack.home)]
    return CliRunner().invoke(app, [*words, *home], env={"COLUMNS": "200"})
