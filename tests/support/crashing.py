"""Kills a service at any await of its code: pool, connection, broker and clock are wrapped, and a dead process does no more.

A *site* is an `await`, `async with` or `async for` in the source, found in the syntax tree. A wrapped call that is awaited
looks at the frames that wait for it: their sites are the path of this call. A crash just before or just after the call is a
crash at every site of its path.
"""

import ast
import asyncio
import inspect
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import cache, partial, wraps
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import aiokafka
import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from faststream.kafka import KafkaBroker

Position = tuple[int | None, int | None, int | None, int | None]
LIFE: ContextVar["Life | None"] = ContextVar("life", default=None)


class Crash(BaseException):
    """The process is dead: nothing that it does from now on reaches anybody."""


@dataclass(frozen=True, order=True)
class Site:
    """One place in the source at which a process may be killed."""

    file: str
    line: int
    column: int
    function: str
    moment: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.function}, {self.moment}"


_PHASES = {
    ast.Await: ("before", "after"),
    ast.AsyncWith: ("before entering", "after entering", "before leaving", "after leaving"),
    ast.AsyncFor: ("before", "after"),
}


class Source:
    """The sites of some modules, by file and position, without those of the functions that are left out."""

    def __init__(self, modules: Collection[ModuleType], left_out: Collection[str] = ()) -> None:
        self.positions = {str(module.__file__): dict(_found(module, left_out)) for module in modules}

    @property
    def sites(self) -> set[Site]:
        """Every site with each of its moments."""
        return {site for found in self.positions.values() for moments in found.values() for site in moments.values()}

    @property
    def count(self) -> int:
        """How many awaits, async withs and async fors there are."""
        return sum(map(len, self.positions.values()))

    def path(self, phase: str) -> tuple[Site, ...]:
        """The sites of all frames that wait for the caller of this method's caller, innermost first."""
        path: dict[Site, None] = {}
        frame = sys._getframe(2)
        while frame := frame.f_back:  # type: ignore[assignment]
            found = self.positions.get(frame.f_code.co_filename)
            moments = found and found.get(_positions(frame.f_code)[frame.f_lasti // 2])
            if moments:
                path[moments.get(phase) or _like(phase, moments)] = None
        return tuple(path)


def _like(phase: str, moments: Mapping[str, Site]) -> Site:
    """Before or after what waits further out: to await, to enter and to leave are not told apart there."""
    return next(site for moment, site in moments.items() if moment.split()[0] == phase.split()[0])


def _found(module: ModuleType, left_out: Collection[str]) -> Iterator[tuple[Position, dict[str, Site]]]:
    path = Path(str(module.__file__))
    for owner, node in _with_owner(ast.parse(path.read_text(encoding="utf-8")), module.__name__):
        if isinstance(node, ast.Await | ast.AsyncWith | ast.AsyncFor) and owner not in left_out:
            at: Position = (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)
            yield at, {phase: Site(path.name, node.lineno, node.col_offset, owner, phase) for phase in _PHASES[type(node)]}


def _with_owner(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield owner, child
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from _with_owner(child, f"{owner}.{child.name}" if named else owner)  # type: ignore[attr-defined]


@cache
def _positions(code: CodeType) -> Sequence[Position]:
    return list(code.co_positions())


@dataclass(frozen=True)
class Point:
    """One moment of one call that somebody of ours awaits."""

    call: str
    path: tuple[Site, ...]

    @property
    def moment(self) -> str:
        return self.path[0].moment

    def __str__(self) -> str:
        return f"{self.call} at {self.path[0]}"


@dataclass
class Fault:
    """Trouble, `times` times: this call of the first of these functions fails when the others wait for it."""

    functions: str
    call: str
    error: Callable[[], BaseException]
    phase: str = "before"
    times: int = 1

    def strikes(self, point: Point) -> bool:
        """True when this is the call that is to fail."""
        waiting = [site.function.rpartition(".")[2] for site in point.path]
        wanted = self.functions.split()
        here = (self.call, self.phase, wanted[0]) == (point.call, point.moment, waiting[0])
        return self.times > 0 and here and set(wanted) <= set(waiting)


@dataclass
class Life:
    """One process, from its start to its end or to its death at the first of its `targets` that it meets."""

    source: Source
    targets: Collection[Point] = ()
    faults: Sequence[Fault] = ()
    dead: bool = False
    fell: Point | None = None
    met: Counter[Point] = field(default_factory=Counter)
    tasks: list["asyncio.Task[Any]"] = field(default_factory=list)
    closers: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)
    crashed: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, coroutine: Any) -> "asyncio.Task[Any]":
        """Runs as a task of this process, and so does everything that it starts."""
        context = copy_context()
        context.run(LIFE.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    def make(self, build: Callable[[], Any]) -> Any:
        """Builds something as a part of this process."""
        context = copy_context()
        context.run(LIFE.set, self)
        return context.run(build)

    async def die(self) -> None:
        """The end of a process: its tasks stop, its connections are cut, its group and its leases are told nothing."""
        self.dead = True
        for task in self.tasks:
            if "/aiokafka/" not in _file_of(task):
                task.cancel()
        await asyncio.sleep(0)
        for close in reversed(self.closers):
            await asyncio.wait([asyncio.ensure_future(close())], timeout=3)
        for task in self.tasks:
            task.cancel()
        await asyncio.wait([*self.tasks, asyncio.ensure_future(asyncio.sleep(0))], timeout=2)

    def reach(self, call: str, phase: str) -> None:
        """Called by a wrapped call right before and right after its effect; raises what is to happen here."""
        path = self.source.path(phase)
        if self.dead:
            raise Crash
        if not path:
            return
        point = Point(call, path)
        self.met[point] += 1
        if point in self.targets:
            self.dead, self.fell = True, point
            self.crashed.set()
            raise Crash
        for fault in self.faults:
            if fault.strikes(point):
                fault.times -= 1
                raise fault.error()


def _file_of(task: "asyncio.Task[Any]") -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    return code.co_filename if code else ""


def task_factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **how: Any) -> "asyncio.Task[Any]":
    """Remembers the tasks of each process."""
    task = asyncio.Task(coroutine, loop=loop, **how)
    context = how.get("context")
    life = context.get(LIFE) if context else LIFE.get()
    if life:
        life.tasks.append(task)
    return task


def quiet_about_crashes(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Nobody fetches what tasks of the dead end with."""
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(dict(context))


class Wrapped:
    """Something that a process uses: its calls that are awaited can be the last thing that process does."""

    def __init__(self, life: Life, real: Any, name: str = "") -> None:
        self._life, self._real, self._name = life, real, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not inspect.isroutine(found):
            return found

        def call(*args: Any, **how: Any) -> Any:
            return awaited(self._life, name, found(*map(unwrapped, args), **how))

        return call

    async def __aenter__(self) -> Any:
        return await acted(self._life, f"{self._name}.enter", self._real.__aenter__(), " entering")

    async def __aexit__(self, *why: Any) -> Any:
        return await acted(self._life, f"{self._name}.leave", self._real.__aexit__(*why), " leaving")

    def __await__(self) -> Any:
        return acted(self._life, f"{self._name}.result", self._real).__await__()


def unwrapped(value: Any) -> Any:
    """What a call of the real thing is to be given."""
    if type(value) is list:
        return [unwrapped(one) for one in value]
    return value._real if isinstance(value, Wrapped) else value


def awaited(life: Life, name: str, result: Any) -> Any:
    """The result of a call, wrapped when it is to be awaited or entered."""
    if asyncio.iscoroutine(result):
        return acted(life, name, result)
    if isinstance(result, asyncio.Future) or _is_entered(result):
        return Wrapped(life, result, name)
    return result


def _is_entered(result: Any) -> bool:
    return hasattr(result, "__aenter__") and type(result).__module__.partition(".")[0] in ("asyncio", "asyncpg")


async def acted(life: Life, name: str, act: Awaitable[Any], phase: str = "") -> Any:
    """The act, with a moment before and a moment after it."""
    try:
        life.reach(name, "before" + phase)
    except BaseException:
        if asyncio.iscoroutine(act):
            act.close()
        if life.dead and not life.source.path("before" + phase):
            await asyncio.Future()
        raise
    try:
        result = await act
    except Exception:
        life.reach(name, "after" + phase)
        raise
    life.reach(name, "after" + phase)
    return Wrapped(life, result, name) if _is_used_on(result) else result


def _is_used_on(result: Any) -> bool:
    return isinstance(result, asyncio.Future) or type(result).__name__ in ("Pool", "PoolConnectionProxy", "Connection")


class Clock:
    """The module asyncio as our code sees it: what waits can be crashed at, and pauses are short."""

    _WAITING = ("sleep", "wait_for", "gather", "shield", "wait")
    _MADE = ("Event", "Lock", "Queue", "Condition", "Semaphore", "timeout")

    def __init__(self, longest: float = 0.25) -> None:
        self._longest = longest

    def __getattr__(self, name: str) -> Any:
        real, life = getattr(asyncio, name), LIFE.get()
        if life is None:
            return real
        if name == "sleep":
            return lambda delay, *result: acted(life, name, asyncio.sleep(min(delay, self._longest), *result))
        if name in self._WAITING:
            return lambda *args, **how: acted(life, name, _begun(real, args, how))
        if name == "create_task":
            return lambda coroutine: Wrapped(life, asyncio.create_task(coroutine), name)
        if name in self._MADE:
            return lambda *args, **how: Wrapped(life, real(*args, **how), name)
        if name == "get_running_loop":
            return lambda: Loop(life, asyncio.get_running_loop())
        return real


async def _begun(wait: Any, args: Sequence[Any], how: Mapping[str, Any]) -> Any:
    return await wait(*map(unwrapped, args), **how)


class Loop(Wrapped):
    """The event loop as our code sees it; signals are the test's."""

    def add_signal_handler(self, *_: Any) -> None:
        """Not here."""


class Drivers:
    """The module asyncpg as our code sees it: whatever it opens belongs to a process."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        found, life = getattr(self._real, name), LIFE.get()
        if life is None or name not in ("create_pool", "connect"):
            return found
        return lambda *args, **how: acted(life, name, _opened(life, found, args, how))


async def _opened(life: Life, opening: Any, args: Sequence[Any], how: Mapping[str, Any]) -> Any:
    opened = await opening(*args, **how)

    async def terminate() -> None:
        opened.terminate()

    life.closers.append(terminate)
    return opened


def _maker(real: Any, close: Callable[[Any], Awaitable[Any]] | None, **always: Any) -> Any:
    """Instead of a class of clients: makes them wrapped when a process of ours asks."""

    def make(*args: Any, **how: Any) -> Any:
        life = LIFE.get()
        if life is None:
            return real(*args, **how)
        made = real(*args, **{**how, **always})
        if close:
            life.closers.append(partial(close, made))
        return Wrapped(life, made, real.__name__)

    return make


async def _left(consumer: Any) -> None:
    """What the broker does with a dead member when its session is over, at once."""
    coordinator, patience = consumer._coordinator, 20
    while coordinator and not coordinator.member_id and patience:
        patience -= 1
        await asyncio.sleep(0.02)
    if coordinator and coordinator.member_id:
        coordinator._coordination_task.cancel()
        coordinator.generation = max(coordinator.generation, 1)
        await coordinator._maybe_leave_group()
    await consumer.stop()


def wrap(modules: Collection[ModuleType], patch: Callable[[Any, str, Any], None]) -> None:
    """Puts wrappers in the place of what these modules use; `patch` is monkeypatch.setattr."""
    producer, consumer = aiokafka.AIOKafkaProducer, aiokafka.AIOKafkaConsumer
    instead = {
        id(asyncio): Clock(),
        id(asyncpg): Drivers(asyncpg),
        id(producer): _maker(producer, producer.stop),
        id(consumer): _maker(consumer, _left, heartbeat_interval_ms=300),
        id(AIOKafkaAdminClient): _maker(AIOKafkaAdminClient, AIOKafkaAdminClient.close),
        id(KafkaBroker): _maker(KafkaBroker, None, consumer_only=True),
    }
    for module in (*modules, aiokafka):
        for name, value in list(vars(module).items()):
            if id(value) in instead:
                patch(module, name, instead[id(value)])
            elif module in modules and _is_plain(value) and _never_waits(value):
                patch(module, name, _waiting(value))


def _is_plain(value: Any) -> bool:
    return inspect.isfunction(value) and inspect.iscoroutinefunction(value)


def _never_waits(function: Any) -> bool:
    tree = ast.parse(inspect.getsource(function))
    return not any(isinstance(node, tuple(_PHASES)) for node in ast.walk(tree))


def _waiting(function: Any) -> Any:
    @wraps(function)
    async def call(*args: Any, **how: Any) -> Any:
        life, act = LIFE.get(), function(*args, **how)
        return await (acted(life, function.__name__, act) if life else act)

    return call
