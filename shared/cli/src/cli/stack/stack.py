"""Kafka, PostgreSQL and the four services of one home folder: start, stop, kill, and ask where they are."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from cli.stack import processes
from cli.stack.context import Context, Part, Say
from cli.stack.errors import StackError
from cli.stack.health import Health
from cli.stack.kafka import Kafka
from cli.stack.names import INFRA, SERVICES, ProcessName
from cli.stack.paths import default_home
from cli.stack.postgres import Postgres
from cli.stack.processes import Running
from cli.stack.services import Service
from cli.stack.settings import StackSettings
from cli.stack.state import locked
from cli.stack.steps import together

# Everything that lies in a home; `code` and `leaderless` are the fault harness's.
_MADE_HERE = {"code", "kafka", "leaderless", "ledger", "logs", "postgres", "stack.json", "stack.lock", "stack.new", "up.lock"}


@dataclass(frozen=True)
class ProcessStatus:
    """One line of `rapport status`; `pid` is None for a server that is not ours."""

    name: str
    running: bool
    ready: bool
    pid: int | None
    address: str | None
    memory_mb: int


class Stack:
    """Owns everything under `home`, and nothing else of this machine.

    What it knows is in stack.json, never in memory: another process with the same home sees and does the same.
    Its methods block; from a running event loop call them with `asyncio.to_thread`.
    """

    def __init__(self, home: Path | None = None, settings: StackSettings | None = None, say: Say = lambda _: None) -> None:
        self.home = (home or default_home()).absolute()
        self.settings = settings or StackSettings()
        self._context = Context(self.home, self.settings, say)
        self._postgres, self._kafka = Postgres(self._context), Kafka(self._context)

    def up(self, *, infra_only: bool = False) -> None:
        """Start what does not run, in parallel where that is possible, and return when all of it is ready."""
        with locked(self.home / "up.lock"):
            before = [self.address(name) for name in INFRA]
            together(partial(self.start, "kafka"), partial(self._start_postgres, migrate=not infra_only))
            if [self.address(name) for name in INFRA] != before:
                self._stop_all(self._running())
            if not infra_only:
                together(*(partial(self.start, name) for name in self.settings.processes))

    def down(self) -> None:
        """Stop the services, then the servers; data and logs stay."""
        if not self.home.exists():
            return
        self._refuse_what_is_not_ours()
        with locked(self.home / "up.lock"):
            self._stop_all(self._running())
            self._stop_all(INFRA)

    def _refuse_what_is_not_ours(self) -> None:
        """Nothing is written to or deleted from a folder that holds what no stack has made."""
        strange = sorted(each.name for each in self.home.iterdir() if each.name not in _MADE_HERE)
        if strange:
            raise StackError(f"{self.home} is no stack's folder: it holds {', '.join(strange[:3])}; nothing was touched")

    def start(self, name: str) -> None:
        """Start one process: a service, a replica or role of it, `kafka` or `postgres`; wait until it is ready.

        That it waits for a person, as when a topic is stopped, is said and is no error.
        """
        part = self._part(name)
        if part.is_external or self.pid(name) is not None:
            self._context.say(f"{name} runs already on {part.address}")
            part.provision()
            return
        began, found = monotonic(), self._launch(name, part)
        part.provision()
        took = f"in {monotonic() - began:.1f} s on {part.address}"
        self._context.say(f"{name} ready {took}" if found.ready else f"{name} up {took}, waits for a person: {found.missing}")

    def stop(self, name: str) -> None:
        """Ask, wait until a deadline, then SIGKILL; a process that does not run is no error."""
        process = self._process(name)
        if process is not None and processes.alive(process):
            processes.stop(process, within=self.settings.stop_within, first=self._part(name).stop_signal)
            self._context.say(f"{name} stopped")
        self._forget(name, process)

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; `start` brings it back."""
        process = self._process(name)
        if process is None or not processes.alive(process):
            raise StackError(f"{name} does not run")
        processes.kill(process)
        self._forget(name, process)

    def spawn(self, name: str) -> None:
        """Start one process and wait for nothing, as a supervisor does; it may die of what is missing."""
        self._begin(name, self._part(name))

    def freeze(self, name: str) -> None:
        """SIGSTOP; `thaw` wakes it."""
        if (process := self._process(name)) is not None:
            processes.freeze(process)

    def thaw(self, name: str) -> None:
        """SIGCONT, also for one that was not frozen."""
        if (process := self._process(name)) is not None:
            processes.thaw(process)

    def run(self, service: str, *words: str, role: str | None = None) -> int:
        """One of a service's own commands, to its end and before our eyes; the answer is its exit code."""
        if ProcessName.of(service).service != service:
            raise StackError(f"{service} is none of {', '.join(SERVICES)}")
        return Service(service, self._context).call(*words, role=role)

    def mark_as_demo(self) -> None:
        """All data of this stack will be invented; for one that has none yet."""
        with self._context.file.edit() as state:
            state.demo = True

    @property
    def is_demo(self) -> bool:
        """Whether all its data was invented by a demo, and lies in its own servers."""
        return self._context.state.demo and not (self._postgres.is_external or self._kafka.is_external)

    def remove(self) -> None:
        """Delete the home with all its data; only for a stack that is down."""
        if any(self.pid(name) for name in (*INFRA, *self._running())):
            raise StackError(f"the stack in {self.home} still runs: bring it down first")
        if self.home.exists():
            self._refuse_what_is_not_ours()
        self._postgres.cluster.remove()
        shutil.rmtree(self.home, ignore_errors=True)

    def pid(self, name: str) -> int | None:
        """None when it does not run, or is not ours."""
        process = self._process(name)
        return process.pid if process is not None and processes.alive(process) else None

    @property
    def kafka_bootstrap(self) -> str:
        """host:port of the broker, ours or the one given by RAPPORT_KAFKA_BOOTSTRAP."""
        return self._kafka.address

    @property
    def superuser_dsn(self) -> str:
        """For provisioning and measuring; no service gets it."""
        return self._postgres.superuser_dsn

    def dsn(self, service: str, role: str = "runtime") -> str:
        """DSN of a service's database as its `owner` or its `runtime` role."""
        return self._postgres.dsn(service, role)

    def secret(self, name: str) -> str:
        """A secret of this stack; by the name of a service, what the service gets as <NAME>_SECRET_KEY."""
        return self._context.secret(name)

    def http_url(self, process: str) -> str:
        """Where the API of a service listens, or of one replica of it."""
        return Service(process, self._context).address

    def address(self, name: str) -> str:
        """Where a person would look for it, without a password."""
        return self._part(name).address

    def log_path(self, name: str) -> Path:
        return self._context.log(name)

    def status(self) -> list[ProcessStatus]:
        """One row per process, in the order in which they start."""
        return [self._status(name) for name in (*INFRA, *dict.fromkeys((*self.settings.processes, *self._running())))]

    def _status(self, name: str) -> ProcessStatus:
        part, pid = self._part(name), self.pid(name)
        running = part.is_external or pid is not None
        return ProcessStatus(
            name=name,
            running=running,
            ready=running and part.health().ready,
            pid=pid,
            address=part.address if running else None,
            memory_mb=processes.memory_mb(pid) if pid else 0,
        )

    def _part(self, name: str) -> Part:
        if name in INFRA:
            return self._kafka if name == "kafka" else self._postgres
        ProcessName.of(name)
        return Service(name, self._context)

    def _begin(self, name: str, part: Part) -> Running:
        process = part.launch()
        with self._context.file.edit() as state:
            state.processes[name] = process
        return process

    def _launch(self, name: str, part: Part) -> Health:
        process, log = self._begin(name, part), self._context.log(name)
        return processes.wait_until(part.health, process, name=name, within=self.settings.start_within, log=log)

    def _start_postgres(self, *, migrate: bool) -> None:
        self.start("postgres")
        if migrate:
            running = {ProcessName.of(name).service for name in self._running()}
            together(*(Service(name, self._context).migrate for name in SERVICES if name not in running))

    def _running(self) -> list[str]:
        """Processes of services, whoever started them."""
        return [name for name in self._context.state.processes if name not in INFRA and self.pid(name) is not None]

    def _stop_all(self, names: Iterable[str]) -> None:
        together(*(partial(self.stop, name) for name in names))

    def _process(self, name: str) -> Running | None:
        return self._context.state.processes.get(name)

    def _forget(self, name: str, process: Running | None) -> None:
        """That process; a supervisor may have put another in its place already."""
        with self._context.file.edit() as state:
            if state.processes.get(name) == process:
                state.processes.pop(name, None)
