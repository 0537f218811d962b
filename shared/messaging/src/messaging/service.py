"""A service put together and run: the only place where the kit opens a pool, a broker and a port, and closes them in order."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import asyncpg
import structlog
import uvicorn
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from fastapi import FastAPI
from faststream.kafka import KafkaBroker

from contracts.topics import OWNED, PARTITIONS, parked_topic
from messaging import http, logs, machinery, patience, upkeep
from messaging.calm import calm
from messaging.chores import Chore
from messaging.consumer import Deciding
from messaging.decision import NoContext
from messaging.door import Door
from messaging.lease import Lease
from messaging.membership import Membership, Recording
from messaging.metrics import Meters
from messaging.operating import Operating
from messaging.operating_api import add_operating
from messaging.parking import Policy
from messaging.processor import Processor
from messaging.relay import Relay
from messaging.routes import Routes
from messaging.settings import KitSettings
from messaging.snapshot import Load
from messaging.stops import Stops
from messaging.workers import Workers

log = structlog.get_logger()

_STALE, _LET_GO_WITHIN = 30.0, 5.0
# Every statement of ours is a transaction of its own, so a connection goes back to the pool without a round trip.
_NOTHING_TO_RESET = partial(asyncio.sleep, 0)
# After a turn that sent a little the relay draws a breath, so that the next one has more to send; after a large one that came
# from the database it turns again at once.
_BREATH, _MANY = 0.003, 100
# How long the relay waits for word of a commit in its own process, and how often it looks for those of others.
_UNTOLD, _ALONE = 0.25, 0.02
NO_CONTEXT = NoContext()


class Service:
    """One process of a service, with the roles it was started for.

    `load` is the context of its handlers: a value, or what loads it for a batch. `kept` is given what a batch made of it,
    once that is committed whole.
    """

    def __init__(
        self, name: str, settings: KitSettings, routes: Routes, load: Load = NO_CONTEXT,
        add_api: Callable[[FastAPI, "Service"], None] | None = None,
        recording: Callable[["Service"], Recording] | None = None,
        kept: Callable[[Any], None] | None = None,
    ) -> None:  # fmt: skip
        self._kept = kept
        self.name, self.settings, self.routes, self._load, self._add_api = name, settings, routes, load, add_api
        machinery.add_to(routes)
        self._recording, self.chores, self.loops = recording, list[Chore](), list[Chore]()
        self.at_stop = list[Callable[[], Awaitable[None]]]()
        self.source = f"/rapport/{name}"
        self.topic = next(topic for topic, source in OWNED.items() if source == self.source)
        self.meters = Meters()
        self.stopping = asyncio.Event()
        self._turned: dict[str, float] = {}
        self._roles: Sequence[str] = ()
        self.pool: asyncpg.Pool[Any]
        self.door: Door

    @property
    def records(self) -> bool:
        """Whether it writes records down instead of deciding."""
        return self._recording is not None

    async def run(self, roles: Sequence[str]) -> None:
        """Runs until SIGTERM or SIGINT, then stops in order and says what was left."""
        logs.configure(self.name, self.settings.log_level)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        self._roles = roles
        await self.open()
        await self._check_topics()
        tasks = [asyncio.create_task(task) for task in self._tasks(roles)]
        if "consume" in roles:
            await self._broker.start()
        log.info("service_started", role=",".join(roles), port=self.settings.http_port)
        stopped = asyncio.create_task(self.stopping.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        await self._stop(tasks)

    async def open(self) -> None:
        """Makes the parts and opens the pool; nothing runs yet."""
        settings = self.settings
        self.pool = await asyncpg.create_pool(
            settings.postgres_dsn.get_secret_value(), min_size=1, max_size=8, command_timeout=30, reset=_NOTHING_TO_RESET,
            server_settings={
                "application_name": f"rapport-{self.name}", "idle_in_transaction_session_timeout": "2000", "jit": "off",
                "synchronous_commit": "on",
            },
        )  # fmt: skip
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self.lease = Lease(self.pool, owner, timedelta(seconds=10))
        self.relay = Relay(self.new_producer, self.lease, self.meters)
        stops = Stops(self.pool, self.meters)
        policy = Policy(
            parked_topic(self.name), settings.early_limit, settings.secret_key.get_secret_value().encode(),
            settings.faults, settings.faults_within, stops.doubt,
        )  # fmt: skip
        self.processor = Processor(
            self.pool, self.routes, self.source, self.topic, self._load, policy, self.relay.hand, self._kept
        )
        self.door = Door(self.routes, self.processor, settings.max_batch)
        self.workers = Workers(self.pool, self.routes, self.processor, self.source, settings.timer_attempts)
        self.operating = Operating(self.pool, self.routes, self.source, self.topic, policy, self.relay.told.set)
        self._broker = KafkaBroker(
            settings.kafka_bootstrap, logger=None, allow_auto_create_topics=False, apply_types=False, metadata_max_age_ms=60_000
        )  # fmt: skip
        deciding = Deciding(self.routes, self.processor, self.meters)
        recording = (
            self._recording(self) if self._recording else Recording(self.routes.topics, deciding.take, ahead=deciding.ahead)
        )
        self.recording = recording
        self.membership = Membership(
            self._broker, f"rapport-{self.name}", recording.topics, recording.take, deciding.park, self.pool, self.meters,
            settings.max_batch, int(settings.poll_idle.total_seconds() * 1000), stops, recording.breath,
            recording.ahead,
        )  # fmt: skip

    def new_producer(self) -> AIOKafkaProducer:
        """One that waits for every replica in sync and keeps order; to be thrown away after any error."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap, acks="all", enable_idempotence=True, max_batch_size=512 * 1024,
            request_timeout_ms=60_000,
        )  # fmt: skip
        calm(producer.client)
        return producer

    async def _check_topics(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap)
        await admin.start()
        try:
            found = await admin.describe_topics([self.topic, parked_topic(self.name), *self.recording.topics])
        finally:
            await admin.close()
        wrong = {t["topic"]: len(t["partitions"]) for t in found if len(t["partitions"]) != PARTITIONS}
        if wrong:
            raise SystemExit(
                f"these topics must have {PARTITIONS} partitions: {wrong}; create them from deploy/kafka/topics.yaml"
            )

    def _tasks(self, roles: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
        loops: dict[str, list[Coroutine[Any, Any, None]]] = {
            "serve": [self._serve(), self._loop("door", self.door.turn)],
            "consume": [self._loop("consumer", self.membership.turned, pause=0.5)],
            "relay": [self._loop("relay", self._relay_turn)],
            "timers": [
                self._loop("timers", self.workers.fire_due, pause=0.2),
                self._loop("lanes", self.workers.look_again, pause=0.5),
                self._loop("chores", upkeep.chores_of(self).turn, pause=1.0),
                *(self._loop(each.name, each.act, pause=each.every.total_seconds()) for each in self.loops),
            ],
        }
        for role in set(loops) - set(roles):
            for loop in loops[role]:
                loop.close()
        return [loop for role in roles for loop in loops[role]]

    async def _loop(self, name: str, turn: Callable[[], Awaitable[Any]], pause: float = 0.0) -> None:
        def noticed(error: BaseException) -> None:
            self.meters.troubles.labels(type(error).__name__).inc()
            log.warning("loop_held", role=name, kind=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))

        while not self.stopping.is_set():
            await patience.holding(turn, self.stopping, noticed)
            self._turned[name] = monotonic()
            if pause:
                await asyncio.sleep(pause)

    async def _relay_turn(self) -> None:
        self.relay.told.clear()
        sent = await self.relay.turn()
        if sent >= _MANY and monotonic() >= self.lease.look_at:
            return
        if 0 < sent < _MANY:
            await asyncio.sleep(_BREATH)
        with suppress(TimeoutError):
            told = "consume" in self._roles and "serve" in self._roles
            await asyncio.wait_for(self.relay.told.wait(), _UNTOLD if told else _ALONE)

    async def _serve(self) -> None:
        app = http.new_app(f"Rapport {self.name}", self.live, self.ready, self.meters)
        upkeep.add_api(app, self)
        add_operating(app, self.operating)
        if self._add_api:
            self._add_api(app, self)
        config = uvicorn.Config(
            app, self.settings.http_host, self.settings.http_port, log_config=None, access_log=False, lifespan="off",
            server_header=False, timeout_graceful_shutdown=3,
        )  # fmt: skip
        self._server = _Server(config)
        await self._server.serve()

    async def live(self) -> Mapping[str, str]:
        """What is stuck: loops that have not turned lately."""
        now = monotonic()
        return {name: "has not turned lately" for name, at in self._turned.items() if name != "door" and now - at > _STALE}

    async def ready(self) -> Mapping[str, str]:
        """What is missing to take work: the database, partitions, the relay; `stopped` if only a person can mend it."""
        wrong = {}
        try:
            await asyncio.wait_for(self.pool.fetchval("SELECT 1"), 2)
        except Exception as error:
            wrong["database"] = type(error).__name__
        if "consume" in self._roles and (missing := self.membership.missing()):
            wrong["consumer"] = missing
        if "relay" in self._roles and monotonic() - self._turned.get("relay", 0) > _STALE:
            wrong["relay"] = "behind"
        if wrong.keys() == {"consumer"} and self.membership.stopped:
            wrong["status"] = "stopped"
        return wrong

    async def _stop(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        self.stopping.set()
        await self.membership.leave()
        await self._broker.stop()
        if hasattr(self, "_server"):
            self._server.should_exit = True
        failed = [task for task in tasks if task.done() and task.exception()]
        self.door.close()
        await asyncio.wait(tasks, timeout=2)
        for task in tasks:
            task.cancel()
        left = await self._drain(monotonic() + self.settings.stop_within.total_seconds())
        await asyncio.gather(*(act() for act in self.at_stop), return_exceptions=True)
        log.info("service_stopped", left=left)
        await _at_most(_LET_GO_WITHIN, self.pool.close())
        for task in failed:
            task.result()

    async def _drain(self, deadline: float) -> int:
        left = -1

        async def turns() -> None:
            nonlocal left
            while left := await self.relay.turn():
                pass

        await _at_most(deadline - monotonic(), turns())
        for let_go in (self.relay.discard_producer, self.lease.release):
            await _at_most(_LET_GO_WITHIN, let_go())
        return left


async def _at_most(seconds: float, doing: Coroutine[Any, Any, Any]) -> None:
    """Waits so long and no longer, also for what goes on when it is cancelled; that it failed is of no concern."""
    task = asyncio.create_task(doing)
    await asyncio.wait([task], timeout=max(0.0, seconds))
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Any:
        yield
