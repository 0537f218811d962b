"""Killed at every await of its loops, a service that starts again has lost nothing, doubled nothing and kept every order."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
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
    chores consumer culprits door lease membership parking patience processor progress relay service snapshot stops suspects
    timeouts timers workers"""
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


def met_in(calm: Sequence[tuple[Scenario, Life]]) -> dict[Point, Scenario]:
    """Every point, with the shortest scenario in which it is met."""
    met: dict[Point, Scenario] = {}
    for scenario, life in sorted(calm, key=lambda one: sum(one[1].met.values())):
        met = dict.fromkeys(life.met, scenario) | met
    return met


def chosen(met: Mapping[Point, Scenario]) -> list[Point]:
    """One point of every call that somebody of ours awaits, and more until every site is met."""
    points = {(point.call, point.path[0]): point for point in reversed(list(met))}
    covered = {site for point in points.values() for site in point.path}
    more = []
    for point in met:
        if not covered.issuperset(point.path):
            more.append(point)
            covered |= set(point.path)
    return [*points.values(), *more]


def in_turn(points: Sequence[Point], met: Mapping[Point, Scenario], at_once: int) -> list[Run]:
    """So many deaths in a row, where the scenario allows it."""
    runs: list[Run] = []
    for scenario in SCENARIOS:
        mine, size = [point for point in points if met[point] is scenario], min(at_once, scenario.at_once)
        runs += [(scenario, *mine[start : start + size]) for start in range(0, len(mine), size)]
    return runs


async def killed_everywhere(worlds: Sequence[World]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(crashing.task_factory)
    loop.set_exception_handler(crashing.quiet_about_crashes)
    await asyncio.gather(*(world.open() for world in worlds))
    met = met_in(await lived(worlds, [(scenario,) for scenario in SCENARIOS]))
    points = list(met) if os.environ.get("CRASH_POINTS") == "all" else chosen(met)
    for at_once in (4, 2, 1, 1):
        fallen = {point for world in worlds for point in world.fell}
        await lived(worlds, in_turn([point for point in points if point not in fallen], met, at_once))
    await asyncio.gather(*(world.close() for world in worlds))


@pytest.mark.timeout(600)
def test_a_service_killed_at_any_await_goes_on_where_it_was(
    infra: Infra, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """By default at one point of each call that is awaited; CRASH_POINTS=all takes every way that leads to it."""
    source = Source(MODULES, LEFT_OUT)
    worlds = [new_world(infra, source, number) for number in range(WORLDS)]
    crashing.wrap(MODULES, monkeypatch.setattr)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    asyncio.run(killed_everywhere(worlds))
    fell = {point for world in worlds for point in world.fell}
    crashed = {site for point in fell for site in point.path}
    told = (
        f"{source.count} awaits, async withs and async fors; {len(crashed)} of {len(source.sites)} moments, {len(fell)} deaths"
    )
    print(told)
    record_property("crash_points", told)
    assert [said for world in worlds for said in world.violations] == []
    assert sorted(map(str, source.sites ^ crashed)) == []
    assert len(crashed) == len(source.sites) >= 2 * source.count > 0
