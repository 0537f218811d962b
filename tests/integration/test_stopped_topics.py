"""Too many faults of our own stop their topic in every replica; nothing of it is lost, and others go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from faststream.kafka import KafkaBroker
from tests.support import kit
from tests.support.kit import Replica, during, journal, parked, publish, said, sql, until
from tests.support.operators import Mending, act, acted, looked, refused
from tests.support.stack import FreshDatabase, Infra

from messaging.membership import Membership
from messaging.stops import Stops


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


def limited(replica: Replica, faults: int, within: float = 600, doubt: Callable[[], None] = lambda: None) -> Replica:
    """A replica whose topics stop after so many faults."""
    policy = replace(
        replica.processor._policy, faults=faults, faults_within=timedelta(seconds=within), at_fault=doubt
    )  # fmt: skip
    replica.processor._policy = policy
    return replica


WRITTEN = "SELECT 1 FROM messaging.state WHERE subject = $1 AND body -> 'words' = to_jsonb($2::text[])"
CLAIMED = "SELECT 1 FROM messaging.inbox WHERE id LIKE 'e-%' AND source IN ('/desk', '/portal') HAVING count(*) >= $1"
STOPPED = "SELECT topic, faults FROM messaging.stop WHERE since IS NOT NULL ORDER BY topic"


def stopped(database: FreshDatabase) -> list[tuple[str, int]]:
    return [tuple(row) for row in sql(database, STOPPED)]


async def stopped_now(replica: Replica) -> list[tuple[str, int]]:
    return [tuple(row) for row in await replica.pool.fetch(STOPPED)]


def failing(subject: int, **changes: Any) -> Any:
    return said("w", f"s-{subject}", do="raise", **changes)


def test_so_many_faults_of_ours_stop_their_topic_and_no_other(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await limited(replica, 3).take(*(failing(n) for n in range(2)), *(failing(n, topic="b") for n in range(2, 4)))
        assert await stopped_now(replica) == []
        await replica.take(failing(5, topic="b"))

    during(database, scenario)
    assert stopped(database) == [("b", 3)]


def test_what_outsiders_send_wrongly_and_what_waits_or_came_too_early_stops_nothing(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await limited(replica, 2).take(*(kit.broken() for _ in range(3)), *(said("x", value=b"{}") for _ in range(3)))
        await replica.take(said("w1", do="open", id="1"), said("w2", id="1"), said("w3", id="1"))
        await replica.take(failing(1), *(said("w", "s-1") for _ in range(5)), *(said("w", f"e-{n}") for n in range(5)))
        await asyncio.to_thread(kit.shift_clock, database, "2 hours")
        await looked(replica)

    during(database, scenario)
    assert len([row for row in parked(database) if row[0] == "parked"]) == 14
    assert stopped(database) == []


def test_faults_that_are_old_or_were_discarded_do_not_count(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await limited(replica, 3).take(failing(1), failing(2))
        await asyncio.to_thread(kit.shift_clock, database, "11 minutes")
        await replica.take(failing(3), failing(4))
        await act(replica, "discard", 3)
        await replica.take(failing(5))
        assert await stopped_now(replica) == []
        await replica.take(failing(6))

    during(database, scenario)
    assert [faults for _, faults in stopped(database)] == [3]


def test_who_resumes_is_on_the_record_and_faults_are_counted_anew(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        await limited(replica, 2).take(failing(1), failing(2))
        ((topic, _),) = await stopped_now(replica)
        done = await act(replica, "resume", topic, "rolled-back")
        await replica.take(failing(3))
        assert await stopped_now(replica) == []
        again = await refused(act(replica, "resume", topic, "rolled-back"))
        await replica.take(failing(4))
        return done, again

    done, again = during(database, scenario)
    assert (done["outcome"], done["faults"], again[0]) == ("resumed", 2, "not-found")
    assert acted(database) == [(kit.SOURCE, "resume", "rolled-back")]
    assert len(stopped(database)) == 1


@asynccontextmanager
async def member(replica: Replica, bootstrap: str, topics: list[str], group: str, faults: int) -> AsyncIterator[Membership]:
    """A replica that reads these topics, with stops of its own, as a service has them."""
    broker = KafkaBroker(bootstrap, logger=None, allow_auto_create_topics=False, apply_types=False)
    stops = Stops(replica.pool, replica.meters)
    take, park = limited(replica, faults, doubt=stops.doubt).deciding.take, replica.deciding.park
    membership = Membership(broker, group, topics, take, park, replica.pool, replica.meters, 50, 20, stops)

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


@pytest.mark.parametrize("count", [1, 2])
def test_replicas_hold_a_stopped_topic_where_it_is_and_read_others_until_somebody_resumes_it(
    infra: Infra, database: FreshDatabase, count: int
) -> None:
    topics = infra.topics(["good", "bad"], partitions=2)
    good, bad, mending = topics["good"], topics["bad"], Mending()
    lanes = [said(f"w{k}", f"s-{n}", do="raise" if k == 1 else "write") for n in range(300) for k in (1, 2)]

    async def scenario(*made: Replica) -> None:
        first = made[0]
        await first.take(*(said("w0", f"s-{n}", do="open", source="/desk") for n in range(300)))
        async with AsyncExitStack() as joined:
            await publish(infra.bootstrap, bad, lanes[:300], 0)
            await publish(infra.bootstrap, bad, lanes[300:], 1)
            members = [
                await joined.enter_async_context(member(one, infra.bootstrap, [good, bad], bad, faults=20)) for one in made
            ]
            await until(lambda: said_so(members), 40)
            await publish(infra.bootstrap, good, [said("w1", "g-1", do="open"), said("w2", "g-1")], 0)
            await publish(infra.bootstrap, good, [said("w1", "g-2", do="open")], 1)
            await until(lambda: first.pool.fetchval(WRITTEN, "g-1", ["w1", "w2"]), 20)
            faults = await first.pool.fetchval("SELECT count(*) FROM messaging.parked WHERE fault")
            await asyncio.sleep(1.5)
            assert await first.pool.fetchval("SELECT count(*) FROM messaging.parked WHERE fault") == faults
            assert 20 <= faults <= 20 + 50 * 2 * count
            mending.failing = False
            await act(first, "resume", bad)
            await until(lambda: first.pool.fetchval(CLAIMED, 903), 40)
            assert all(one.missing() is None for one in members)
        for row in await first.pool.fetch("SELECT n FROM messaging.parked WHERE outcome = 'parked'"):
            await act(first, "retry", row["n"])
        while await first.pool.fetchval("SELECT count(*) FROM messaging.parked"):
            await looked(first, 1)

    during(database, scenario, count=count, routes=mending.routes)
    assert [journal(database, f"s-{n}") for n in range(300)] == [["w0", "w1", "w2"]] * 300


async def said_so(members: list[Membership]) -> bool:
    return all("is stopped after" in (one.missing() or "") for one in members)
