"""Places on real PostgreSQL: who loses a race is told so, nobody else is, and replicas never give one place twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.support.stack import FreshDatabase, Infra

from contracts.clinical import ChoiceMade
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.intake import HandoffOffered
from contracts.therapist import TherapistListed
from matching.consumer import ROUTES
from matching.domain.match import Terms
from matching.domain.places import Seats
from matching.store import Store
from messaging.message import Received
from messaging.migrate import migrate
from messaging.parking import Policy
from messaging.processor import Processor
from messaging.received import bind

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
EFFECTS = "SELECT messaging.effects($1, $2)"
Connect = Callable[[], Coroutine[Any, Any, "asyncpg.Connection[Any]"]]


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "matching")
    return fresh


@asynccontextmanager
async def connections(database: FreshDatabase, count: int) -> AsyncIterator[Sequence[Any]]:
    opened = [await asyncpg.connect(database.runtime_dsn) for _ in range(count)]
    try:
        yield opened
    finally:
        await asyncio.gather(*(connection.close() for connection in opened))


def listed(capacity: int, version: int = 1) -> TherapistListed:
    return TherapistListed(
        version=version, capacity=capacity, problem_areas=("anxiety",), age_bands=("adult",), languages=("en",), places=("WA",),
        modalities=("video",), payers=("self-pay",),
    )  # fmt: skip


async def list_therapist(connection: Any, therapist: str, capacity: int) -> None:
    await connection.execute(
        """INSERT INTO messaging.state (kind, subject, version, schema, body) VALUES ('therapist', $1, 1, 1, $2)
           ON CONFLICT (kind, subject) DO UPDATE SET version = state.version + 1, body = excluded.body""",
        therapist, listed(capacity).model_dump_json(),
    )  # fmt: skip


def take(therapist: str, seat: int, counter: int, episode: str, capacity: int = 1) -> tuple[str, str]:
    effect = {"effect": "TakePlace", "therapist": therapist, "seat": seat, "counter": counter, "episode": episode}
    return episode, json.dumps(effect | {"capacity": capacity})


def free(therapist: str, seat: int, counter: int, episode: str) -> tuple[str, str]:
    effect = {"effect": "FreePlace", "therapist": therapist, "seat": seat, "counter": counter, "episode": episode}
    return episode, json.dumps(effect)


async def effects(connection: Any, *asked: tuple[str, str]) -> list[str]:
    return list(await connection.fetchval(EFFECTS, [episode for episode, _ in asked], [effect for _, effect in asked]))


async def seats(connection: Any) -> dict[tuple[str, int], str]:
    return {(row["therapist"], row["seat"]): row["episode"] for row in await connection.fetch("SELECT * FROM public.seat")}


def test_of_two_writers_racing_for_the_last_place_one_loses_and_nobody_else(database: FreshDatabase) -> None:
    async def race() -> tuple[list[str], bool, list[str], dict[tuple[str, int], str]]:
        async with connections(database, 2) as (one, two):
            for therapist in ("t", "u"):
                await list_therapist(one, therapist, 1)
            async with one.transaction():
                first = await effects(one, take("t", 1, 1, "e-1"))
                racing = asyncio.create_task(effects(two, take("t", 1, 1, "e-2"), take("u", 1, 1, "e-3")))
                _, waits = await asyncio.wait([racing], timeout=0.3)
            return first, bool(waits), await racing, await seats(one)

    assert asyncio.run(race()) == ([], True, ["e-2"], {("t", 1): "e-1", ("u", 1): "e-3"})


def test_who_builds_on_a_loser_loses_too_and_who_does_not_wins(database: FreshDatabase) -> None:
    async def decide() -> tuple[list[str], dict[tuple[str, int], str]]:
        async with connections(database, 1) as (one,):
            for therapist in ("t", "u"):
                await list_therapist(one, therapist, 3)
            asked = [
                take("t", 1, 1, "e-1", 3),
                take("t", 2, 2, "stale", 2),
                take("t", 3, 3, "after", 3),
                take("u", 1, 1, "e-4", 3),
            ]
            return await effects(one, *asked), await seats(one)

    lost, held = asyncio.run(decide())
    assert (sorted(lost), held) == (["after", "stale"], {("t", 1): "e-1", ("u", 1): "e-4"})


def test_the_effects_of_one_subject_are_carried_out_all_or_none(database: FreshDatabase) -> None:
    async def decide() -> tuple[list[str], dict[tuple[str, int], str], int]:
        async with connections(database, 1) as (one,):
            for therapist in ("t", "u"):
                await list_therapist(one, therapist, 1)
            await effects(one, take("t", 1, 1, "e-1"))
            lost = await effects(one, free("t", 1, 2, "e-1"), take("u", 1, 9, "e-1"))
            return lost, await seats(one), await one.fetchval("SELECT counter FROM public.seat_counter WHERE therapist = 't'")

    assert asyncio.run(decide()) == (["e-1"], {("t", 1): "e-1"}, 1)


def test_one_batch_may_take_free_and_take_a_place_again(database: FreshDatabase) -> None:
    async def decide() -> tuple[list[str], dict[tuple[str, int], str], int]:
        async with connections(database, 1) as (one,):
            await list_therapist(one, "t", 1)
            lost = await effects(one, take("t", 1, 1, "e-1"), free("t", 1, 2, "e-1"), take("t", 1, 3, "e-2"))
            return lost, await seats(one), await one.fetchval("SELECT counter FROM public.seat_counter")

    assert asyncio.run(decide()) == ([], {("t", 1): "e-2"}, 3)


def test_a_place_decided_under_another_capacity_is_decided_again(database: FreshDatabase) -> None:
    async def decide() -> list[str]:
        async with connections(database, 1) as (one,):
            await list_therapist(one, "t", 1)
            return await effects(one, take("t", 2, 1, "e-1", capacity=2))

    assert asyncio.run(decide()) == ["e-1"]


def test_the_directory_is_read_once_and_then_only_what_changed(database: FreshDatabase) -> None:
    async def read() -> tuple[Seats, bool, Seats, int]:
        async with connections(database, 1) as (one,):
            store = Store(Terms())
            await list_therapist(one, "t", 2)
            await effects(one, take("t", 1, 1, "e-1", 2), take("t", 2, 2, "e-2", 2), free("t", 1, 3, "e-1"))
            first = await store.load(one, [])
            same = (await store.load(one, [])) is first
            await list_therapist(one, "t", 5)
            await effects(one, take("t", 1, 4, "e-3", 5))
            last = await store.load(one, [])
            return first.seats["t"], same, last.seats["t"], last.index.listings["t"].capacity

    assert asyncio.run(read()) == (Seats(3, 0b10), True, Seats(4, 0b11), 5)


def said(data: Event, subject: str, source: str = "/portal") -> Received:
    envelope = Envelope(id=f"{subject}-{data.type}", source=source, type=data.type, subject=subject, time=NOW)
    return bind(envelope, data.model_dump_json().encode(), ROUTES)


def handed(episode: str) -> Received:
    need = {"problem_area": "anxiety", "age_band": "adult"}
    offered = HandoffOffered.model_validate({
        "handoff_id": f"h-{episode}", "giver": "intake", "receiver": "matching", "attempt": 1, "kind": "matching",
        "arbiter": "intake", "deadline": NOW, "consent_basis": "treatment", "need": need,
    })  # fmt: skip
    return said(offered, episode, "/rapport/intake")


@asynccontextmanager
async def replicas(database: FreshDatabase, stores: Sequence[Store]) -> AsyncIterator[list[Processor]]:
    pools = [await asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) for _ in stores]
    policy = Policy("matching.parked.v1", timedelta(hours=1), b"key")
    try:
        yield [
            Processor(
                pool, ROUTES, "/rapport/matching", "matching.events.v1", store.load, policy, lambda *_: None, store.keep
            )
            for pool, store in zip(pools, stores, strict=True)
        ]  # fmt: skip
    finally:
        await asyncio.gather(*(pool.close() for pool in pools))


def test_replicas_that_race_give_every_place_once_and_leave_the_others_waiting(database: FreshDatabase) -> None:
    episodes = [f"e-{n}" for n in range(40)]
    stores = [Store(Terms()) for _ in range(4)]

    async def race() -> tuple[list[str], list[Any], list[Any]]:
        async with replicas(database, stores) as processors:
            await processors[0].handle([said(listed(5), f"t-{n}", "/directory") for n in range(3)])
            await processors[0].handle([handed(episode) for episode in episodes])
            choices = [said(ChoiceMade(therapist_id="any"), episode) for episode in episodes]
            batches = [processor.handle(choices[n::4]) for n, processor in enumerate(processors)]
            outcomes = [answer.outcome for answers in await asyncio.gather(*batches) for answer in answers]
            async with connections(database, 1) as (one,):
                stages = await one.fetch("SELECT stage, count(*) AS n FROM public.match GROUP BY stage ORDER BY stage")
                places = await one.fetch("SELECT therapist, capacity, counter, held FROM public.therapist ORDER BY therapist")
            return outcomes, [tuple(row) for row in stages], [tuple(row) for row in places]

    outcomes, stages, places = asyncio.run(race())
    assert outcomes == ["applied"] * len(episodes)
    assert stages == [("offered", 15), ("waiting", 25)]
    assert places == [(f"t-{n}", 5, 5, 5) for n in range(3)]


def test_what_a_batch_left_is_not_read_again_and_is_what_the_database_has(database: FreshDatabase) -> None:
    mine, other, fresh = (Store(Terms()) for _ in range(3))

    async def choose(processor: Processor, *episodes: str) -> None:
        await processor.handle([handed(episode) for episode in episodes])
        await processor.handle([said(ChoiceMade(therapist_id="any"), episode) for episode in episodes])

    async def decide() -> tuple[Sequence[Any], Sequence[Any], list[dict[str, Seats]]]:
        async with replicas(database, [mine, other]) as (one, two), connections(database, 1) as (connection,):
            await one.handle([said(listed(5), f"t-{n}", "/directory") for n in range(3)])
            await choose(one, "e-1", "e-2", "e-3")
            after_mine = await mine.changed(connection)
            await choose(two, "e-4")
            after_other = await mine.changed(connection)
            await choose(one, "e-5", "e-6")
            return after_mine, after_other, [dict((await store.load(connection, [])).seats) for store in (mine, fresh)]

    after_mine, after_other, (kept, read) = asyncio.run(decide())
    assert (after_mine, len(after_other)) == ([], 1)
    assert kept == read
    assert sum(seats.counter for seats in read.values()) == 6
