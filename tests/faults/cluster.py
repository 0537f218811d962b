"""The processes of one run: what should run does, and the schedule's faults are done to it."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]
from tests.faults.code import leaderless
from tests.faults.schedule import Fault

from cli.stack import Stack, StackError
from cli.stack.names import INFRA, SERVICES, ProcessName

_LOOK_EVERY, _FIRST_PAUSE, _LONGEST_PAUSE, _LIVED = 0.5, 2.0, 10.0, 20.0
_STANDS, _RUNS = 0.06, 0.02
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE client_port = ANY ($1) AND application_name LIKE 'rapport-%'"
# Nobody but this harness knows of this trigger; it comes and goes with a spell.
STALL = """
    CREATE OR REPLACE FUNCTION public.fault_stall() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF random() < 0.15 THEN PERFORM pg_sleep(0.4); END IF; RETURN NULL; END';
    CREATE OR REPLACE TRIGGER fault_stall AFTER INSERT ON messaging.outbox
        FOR EACH STATEMENT EXECUTE FUNCTION public.fault_stall()"""
GO_ON = "DROP TRIGGER IF EXISTS fault_stall ON messaging.outbox"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ANY ($1)"


class Cluster:
    """A supervisor that brings back what died, and the hand that kills; `done` counts what was done."""

    def __init__(self, stack: Stack, say: Callable[[str], None]) -> None:
        self._stack, self._say = stack, say
        self._wanted = set(stack.settings.processes)
        self._held: set[str] = set()
        self._begun: dict[str, tuple[float, float]] = {}
        self._threads = ThreadPoolExecutor(12)
        self._stalled: set[str] = set()
        # A server that comes back late must not be taken away again before it is there.
        self._broker_in_hand, self._database_in_hand = asyncio.Lock(), asyncio.Lock()
        self.done: Counter[str] = Counter()
        self._bootstrap, self._dsn = stack.kafka_bootstrap, stack.superuser_dsn

    def urls(self, service: str) -> Sequence[str]:
        """Where the replicas of a service listen."""
        names = [
            name for name in sorted(self._wanted) if ProcessName.of(name).service == service and ProcessName.of(name).serves
        ]
        return [self._stack.http_url(name) for name in names]

    async def supervise(self) -> None:
        """For ever: what should run and does not is begun again, more slowly each time that it dies at once."""
        while True:
            for name in sorted(self._wanted - self._held):
                if await self._call(self._stack.pid, name) is None:
                    await self._bring_back(name)
            await asyncio.sleep(_LOOK_EVERY)

    async def _bring_back(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        begun, pause = self._begun.get(name, (-1000.0, _FIRST_PAUSE))
        if now - begun > pause:
            self._begun[name] = now, _FIRST_PAUSE if now - begun > _LIVED else min(pause * 2, _LONGEST_PAUSE)
            await self._call(self._stack.spawn, name)

    async def do(self, fault: Fault) -> None:
        """One fault from its beginning to its end."""
        self._say(f"{fault.kind} {fault.target}" + (f" for {fault.lasts:.1f} s" if fault.lasts else ""))
        act = {
            "kill": self._kill, "freeze": self._freeze, "broker": self._broker, "postgres": self._postgres,
            "terminate": self._terminate, "join": self._join, "starve": self._starve, "stall": self._stall,
        }[fault.kind]  # fmt: skip
        await act(fault)

    async def make_whole(self) -> None:
        """Everything that should run does, whatever was cut short, and nothing is frozen or stalled."""
        leaderless(self._stack.home).unlink(missing_ok=True)
        for name in INFRA:
            if await self._call(self._stack.pid, name) is None:
                await self._call(self._stack.start, name)
        for name in self._wanted:
            await self._call(self._stack.thaw, name)
        self._held.clear()
        self._begun.clear()
        for service in list(self._stalled):
            await self._go_on(service)

    def close(self) -> None:
        """No more threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, act: Callable[..., Any], *words: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(act, *words))

    async def _kill(self, fault: Fault) -> None:
        self._held.add(fault.target)
        try:
            await self._call(self._stack.kill, fault.target)
            self.done["kills"] += 1
        except StackError:
            self.done["kills of who was dead"] += 1
        await asyncio.sleep(fault.lasts)
        self._begun.pop(fault.target, None)
        self._held.discard(fault.target)

    async def _freeze(self, fault: Fault) -> None:
        if await self._call(self._stack.pid, fault.target) is None:
            self.done["freezes of who was dead"] += 1
            return
        await self._call(self._stack.freeze, fault.target)
        self.done["freezes"] += 1
        await asyncio.sleep(fault.lasts)
        await self._call(self._stack.thaw, fault.target)

    async def _broker(self, fault: Fault) -> None:
        gone = leaderless(self._stack.home)
        async with self._broker_in_hand:
            gone.touch()
            await self._call(self._stack.kill, "kafka")
            self.done["outages of the broker"] += 1
            await asyncio.sleep(fault.lasts)
            await self._call(self._stack.start, "kafka")
            gone.unlink(missing_ok=True)
        if self._stack.kafka_bootstrap != self._bootstrap:
            raise StackError("somebody took the broker's port while it was down: run again")

    async def _postgres(self, fault: Fault) -> None:
        async with self._database_in_hand:
            await self._call(self._stack.kill if fault.target == "crash" else self._stack.stop, "postgres")
            self.done["restarts of PostgreSQL"] += 1
            await asyncio.sleep(fault.lasts)
            await self._call(self._stack.start, "postgres")
        if self._stack.superuser_dsn != self._dsn:
            raise StackError("somebody took PostgreSQL's port while it was down: run again")

    async def _terminate(self, fault: Fault) -> None:
        services = SERVICES if fault.target == "all" else (fault.target,)
        try:
            connection = await asyncpg.connect(self._dsn, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return
        try:
            rows = await connection.fetch(TERMINATE, [f"rapport-{service}" for service in services])
            self.done["connections cut"] += len(rows)
        finally:
            await connection.close()

    async def _starve(self, fault: Fault) -> None:
        """The server's side of one process's connections runs a little and stands a little, as on an overloaded machine."""
        backends = await self._backends_of(fault.target)
        self.done["connections starved"] += len(backends)
        clock = asyncio.get_running_loop().time
        until = clock() + fault.lasts
        try:
            while clock() < until:
                _signal(backends, signal.SIGSTOP)
                await asyncio.sleep(_STANDS)
                _signal(backends, signal.SIGCONT)
                await asyncio.sleep(_RUNS)
        finally:
            _signal(backends, signal.SIGCONT)

    async def _stall(self, fault: Fault) -> None:
        """Storage that stalls: now and then a transaction stands still after it wrote its events and before it commits."""
        self._stalled.add(fault.target)
        if await self._change(fault.target, STALL):
            self.done["spells of stalling storage"] += 1
        await asyncio.sleep(fault.lasts)
        await self._go_on(fault.target)

    async def _go_on(self, service: str) -> None:
        if await self._change(service, GO_ON):
            self._stalled.discard(service)

    async def _change(self, service: str, sql: str) -> bool:
        """Whether the owner of a service's database could carry this out now."""
        try:
            connection = await asyncpg.connect(self._stack.dsn(service, "owner"), timeout=2, command_timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        try:
            await connection.execute(sql)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            await connection.close()
        return True

    async def _backends_of(self, name: str) -> list[int]:
        pid = await self._call(self._stack.pid, name)
        try:
            ports = [connection.laddr.port for connection in psutil.Process(pid).net_connections("tcp")] if pid else []
            connection = await asyncpg.connect(self._dsn, timeout=2)
        except (psutil.Error, OSError, TimeoutError, asyncpg.PostgresError):
            return []
        try:
            return [row["pid"] for row in await connection.fetch(BACKENDS, ports)]
        finally:
            await connection.close()

    async def _join(self, fault: Fault) -> None:
        """Another replica comes and goes, and partitions move twice."""
        await self._call(self._stack.spawn, fault.target)
        self.done["replicas that came and went"] += 1
        await asyncio.sleep(fault.lasts)
        await self._call(self._stack.stop, fault.target)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
