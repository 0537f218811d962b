"""Killed at every await of its loops, a service that starts again has lost nothing, doubled nothing and kept every order."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib import import_module

import pytest
from tests.crash.scenarios import SCENARIOS
from tests.crash.world import Scenario, World, topics_of
from tests.support import crashing
from tests.support.crashing import Life, Point, Source
from tests.support.stack import Infra

from messaging import logs
from messaging.migrate import migrate

LOOPS = """
    alone chores consumer culprits door lease membership parking patience processor progress relay service snapshot stops
    suspects timeouts timers workers"""
MODULES = [import_module(f"messaging.{name}") for name in LOOPS.split()]
# They answer whether the process is well and change nothing.
LEFT_OUT = ("messaging.service.Service._serve", "messaging.service.Service.live", "messaging.service.Service.ready")
WORLDS, MOST = 4, 120.0
Run = tuple[Scenario, *tuple[Point, ...]]


def new_world(infra: Infra, source: Source, number: int) -> World:
    name = f"{infra.topic_prefix()}{number}"
    infra.topics(topics_of(name), prefix="")
    database = infra.database()
    migrate(database.owner_dsn, "followup")
    return World(source, infra.bootstrap, database, name)


async def lived(worlds: Sequence[World], runs: Sequence[Run]) -> list[tuple[Scenario, Life]]:
    """All runs, several at once, each in one of the worlds."""
    left, lives = list(reversed(runs)), list[tuple[Scenario, Life]]()

    async def live(world: World) -> None:
        while left:
            scenario, *targets = left.pop()
            try:
                lives.append((scenario, await asyncio.wait_for(world.run(scenario, *targets), MOST)))
            except (Exception, asyncio.CancelledError) as error:
                world.violations.append(f"{scenario.name}, to be killed {'; then '.join(map(str, targets))}: {error!r}")

    await asyncio.gather(*map(live, worlds))
    return lives


def met_in(calm: Sequence[tuple[Scenario, Life]]) -> dict[Point, list[Scenario]]:
    """Every point, with the scenarios in which it was met, the shortest first."""
    met: dict[Point, list[Scenario]] = {}
    for scenario, life in sorted(calm, key=lambda one: sum(one[1].met.values())):
        for point in life.met:
            met.setdefault(point, []).append(scenario)
    return met


def awaits(point: Point) -> set[Hashable]:
    """Where it kills, whether before or after."""
    return {(site.file, site.line, site.column) for site in point.path}


def moments(point: Point) -> set[Hashable]:
    """Where and when it kills."""
    return set(point.path)


def ways(point: Point) -> set[Hashable]:
    """Each way that leads there."""
    return {point}


AIM = {"awaits": awaits, "moments": moments, "ways": ways}[os.environ.get("CRASH_POINTS", "awaits")]


def chosen(met: Mapping[Point, Sequence[Scenario]], missing: set[Hashable], tried: Counter[Point]) -> dict[Point, Scenario]:
    """Points that meet what is missing, deaths after the effect first; what was tried before comes in another scenario."""
    points: dict[Point, Scenario] = {}
    for point in sorted(met, key=lambda point: (tried[point], not point.moment.startswith("after"))):
        if not missing.isdisjoint(AIM(point)):
            points[point] = met[point][tried[point] % len(met[point])]
            missing = missing - AIM(point)
    tried.update(list(points))
    return points


def in_turn(points: Mapping[Point, Scenario], at_once: int) -> list[Run]:
    """So many deaths in a row, where the scenario allows it."""
    runs: list[Run] = []
    for scenario in SCENARIOS:
        mine, size = [point for point in points if points[point] is scenario], min(at_once, scenario.at_once)
        runs += [(scenario, *mine[start : start + size]) for start in range(0, len(mine), size)]
    return runs


async def killed_everywhere(worlds: Sequence[World]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(crashing.task_factory)
    loop.set_exception_handler(crashing.quiet_about_crashes)
    await asyncio.gather(*(world.open() for world in worlds))
    met = met_in(await lived(worlds, [(scenario,) for scenario in SCENARIOS]))
    tried = Counter[Point]()
    for at_once in (6, 3, 1, 1, 1, 1):
        fell = {part for world in worlds for point in world.fell for part in AIM(point)}
        wanted = {part for point in met for part in AIM(point)}
        await lived(worlds, in_turn(chosen(met, wanted - fell, tried), at_once))
    await asyncio.gather(*(world.close() for world in worlds))


@pytest.mark.timeout(600)
def test_a_service_killed_at_any_await_goes_on_where_it_was(
    infra: Infra,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    """CRASH_POINTS=moments kills before and after each of them, CRASH_POINTS=ways on each way that leads there, too."""
    source = Source(MODULES, LEFT_OUT)
    worlds = [new_world(infra, source, number) for number in range(WORLDS)]
    crashing.wrap(MODULES, monkeypatch.setattr)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    asyncio.run(killed_everywhere(worlds))
    fell = {point for world in worlds for point in world.fell}
    killed = {part for point in fell for part in awaits(point)}
    sites = {(site.file, site.line, site.column) for site in source.sites}
    when = {site for point in fell for site in point.path}
    told = f"killed at {len(killed)} of {source.count} awaits, {len(when)} of {len(source.sites)} moments, {len(fell)} deaths"
    with capsys.disabled():
        print(f"\n{told}")
    record_property("crash_points", told)
    violations = [said for world in worlds for said in world.violations]
    print(*violations, sep="\n")
    assert violations == []
    assert sites ^ killed == set()
    assert len(killed) == source.count > 0
    if AIM is not awaits:
        assert sorted(map(str, source.sites ^ when)) == []
