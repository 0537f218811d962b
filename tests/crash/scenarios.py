"""What happens to the service while it is killed: an ordinary day, trouble of every kind, a rebalance, and deaths before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, KafkaError, KafkaTimeoutError
from tests.crash.invariants import Expected
from tests.crash.world import Scenario, World
from tests.support import kit
from tests.support.crashing import Fault, Life
from tests.support.kit import PORTAL, broken, said

from messaging.decision import NoContext
from messaging.service import Service

DESK = "/desk"


def day(_: World) -> Sequence[Any]:
    """Duplicates, an effect, a timer, a refusal; early ones, a poisonous one with followers; what cannot be read or written."""
    twice = said("p2", id="twice")
    return [
        said("p1", do="open"), twice, twice, said("p3", do="effect"), said("p4", do="timer", arg="bell=0.05"),
        said("d1", "s-2", source=DESK), said("d2", "s-2", source=DESK),
        said("p1", "s-3", do="open"), said("x", "s-3", do="raise"), said("p2", "s-3"), said("d1", "s-3", source=DESK),
        said("p1", "s-2", do="open"), said("d3", "s-2", source=DESK), said("no", do="refuse"), broken(),
        said("other", id="twice"), said("p3", "s-3"), said("p5", do="effect"),
    ]  # fmt: skip


def end_of_day(world: World) -> Sequence[Expected]:
    """Each word once in its lane; the poisonous one and what follows it wait for a person."""
    place = f"kafka:{world.inbound}"
    return [Expected(
        {"s-1": [["p1", "p2", "p3", "p4", "p5"], ["p4", "bell"]], "s-2": [["p1", "d1", "d2", "d3"]],
         "s-3": [["p1", "d1"]], "s-4": [["c1"]]},
        [("parked", PORTAL, "s-3", "handler-LookupError"), ("waiting", PORTAL, "s-3", "behind-parked"),
         ("waiting", PORTAL, "s-3", "behind-parked"), ("parked", place, None, "not-a-cloudevent"),
         ("parked", place, None, "same-id-other-content")],
        [("s-1", "p3"), ("s-1", "p5")],
    )]  # fmt: skip


def bad_day(_: World) -> Sequence[Any]:
    """Content that the database refuses, in the batch and in a lane; timers that fail; a state that cannot be read."""
    return [
        said("p1", do="open"), said("p2", do="timer", arg="early=0"), said("p3", do="timer", arg="broken=0"), said("p4"),
        said("p1", "s-2", do="open"), said("x", "s-2", do="nul"), said("p2", "s-2"), said("d1", "s-2", source=DESK),
        said("d1", "s-3", source=DESK), said("x", "s-3", do="nul", source=DESK), said("d2", "s-3", source=DESK),
        said("p1", "s-3", do="open"), said("p1", "s-bad"), said("p5"),
    ]  # fmt: skip


def end_of_bad_day(_: World) -> Sequence[Expected]:
    """What is refused is parked in its lane, also where the state cannot be read."""
    refused, unreadable = "unprocessable-UntranslatableCharacterError", "unprocessable-ValidationError"
    return [Expected(
        {"s-1": [["p1", "p2", "p3", "p4", "p5"]], "s-2": [["p1", "d1"]], "s-3": [["p1", "d1"]]},
        [("parked", PORTAL, "s-2", refused), ("waiting", PORTAL, "s-2", "behind-parked"),
         ("parked", DESK, "s-3", refused), ("waiting", DESK, "s-3", "behind-parked"),
         ("parked", PORTAL, "s-bad", unreadable), ("parked", DESK, "s-bad", unreadable)],
        timers=["broken", "early"],
    )]  # fmt: skip


def worse(_: World) -> Sequence[Any]:
    """Content that the database refuses, once when it is read and once when it is looked at again."""
    return [
        said("p1", do="open"), said("x", do="nul"), said("d1", "s-2", source=DESK), said("x", "s-2", do="nul", source=DESK),
        said("p1", "s-2", do="open"), said("p2", "s-3", do="open"),
    ]  # fmt: skip


def cannot_be_parked() -> Sequence[Fault]:
    """Nor can it be parked in its lane, at first."""
    return [Fault("_settle park", "fetchrow", asyncpg.DataError), Fault("_settle _park", "fetchrow", asyncpg.DataError)]


def worse_is_over(world: World) -> Sequence[Expected]:
    """It is parked by its place, and put off in its lane; in its lane both times when somebody else tries again."""
    lanes = {"s-1": [["p1"]], "s-2": [["p1", "d1"]], "s-3": [["p2"]]}
    refused = "unprocessable-UntranslatableCharacterError"
    by_place, in_lane = (f"kafka:{world.inbound}", None, "unprocessable-DataError"), (PORTAL, "s-1", refused)
    put_off, halted = ("waiting", DESK, "s-2", "behind-parked"), ("parked", DESK, "s-2", refused)
    return [Expected(lanes, [("parked", *place), row]) for place in (by_place, in_lane) for row in (put_off, halted)]


async def spoilt(world: World) -> None:
    """Somebody waits for a subject whose state our code can no longer read."""
    async with kit.replicas(world.database) as (replica,):
        await replica.take(said("d1", "s-bad", source=DESK))
    await world.sql.execute(
        """UPDATE messaging.state SET body = '{"words": 5}'; UPDATE messaging.parked SET retry_at = now()"""
    )


def away() -> Sequence[Fault]:
    """The database goes once before and once after it has written, the broker refuses a batch, a commit on the way is late."""
    gone = asyncpg.ConnectionDoesNotExistError
    return [
        Fault("_settle", "fetchrow", gone, times=2), Fault("_settle", "fetchrow", gone, "after"),
        Fault("_send_group", "send_batch.result", KafkaError), Fault("_commit turned", "wait_for", CommitFailedError),
        Fault("renew turn", "fetch", gone), Fault("_settle turn", "fetchrow", gone),
        Fault("look turned", "fetch", gone, times=3), Fault("fire_due", "fetch", gone), Fault("look_again", "fetch", gone),
    ]  # fmt: skip


def no_commits() -> Sequence[Fault]:
    """Offsets are not committed by the way, only when the partitions go; where they begin is known at the second try."""
    return [
        Fault("_commit turned", "wait_for", CommitFailedError, times=10_000),
        Fault("_start", "committed", KafkaTimeoutError),
    ]


# Whoever decides alone holds the lock, and is not overtaken.
FASTER = """
    UPDATE messaging.state s SET version = version + 1
      FROM (SELECT kind, subject FROM messaging.state FOR UPDATE SKIP LOCKED) free
     WHERE s.kind = free.kind AND s.subject = free.subject"""


def contended(world: World) -> Callable[[Any, Any], Awaitable[NoContext]]:
    """Somebody else is faster, so often that subjects are decided alone."""
    left = 8

    async def load(connection: Any, _: Any) -> NoContext:
        nonlocal left
        await connection.fetchval("SELECT 1")
        if left and await world.elsewhere.execute(FASTER) != "UPDATE 0":
            left -= 1
        return NoContext()

    return load


async def rival(world: World, life: Life, _: Service) -> None:
    """Another member comes when something was done."""
    await till(world, life, "SELECT count(*) > 0 FROM messaging.inbox")
    await another_member(world, life)


async def till(world: World, life: Life, holds: str) -> None:
    """Not for ever, since the moment may be missed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            while not (life.dead or await world.elsewhere.fetchval(holds)):
                await asyncio.sleep(0.03)


async def another_member(world: World, life: Life) -> None:
    """It comes and goes, so that partitions are revoked and assigned again."""
    other = AIOKafkaConsumer(
        world.inbound, bootstrap_servers=world.bootstrap, group_id=world.group, heartbeat_interval_ms=100,
        partition_assignment_strategy=(RangePartitionAssignor,), enable_auto_commit=False,
    )  # fmt: skip
    try:
        await other.start()
        while not other.assignment() and not life.dead:
            await asyncio.sleep(0.02)
    finally:
        await other.stop()


async def died_before(world: World) -> None:
    """Two processes got nowhere from here; the next ones take what they read one by one."""
    await world.sql.execute(
        "INSERT INTO messaging.progress (topic, part, position, attempts) VALUES ($1, 0, $2, 2)", world.inbound, world.start
    )


async def killed_before(world: World) -> None:
    """And both had the second record in hand."""
    await died_before(world)
    await world.sql.execute("UPDATE messaging.progress SET suspect = position + 1, accused = position + 1, kills = 1")


def few(_: World) -> Sequence[Any]:
    """One lane and its neighbour."""
    return [said(word, subject, do="open") for word, subject in (("p1", "s-1"), ("p2", "s-2"), ("p3", "s-1"), ("p4", "s-1"))]


def all_few(_: World) -> Sequence[Expected]:
    """All of them."""
    return [Expected({"s-1": [["p1", "p3", "p4"]], "s-2": [["p2"]]})]


def but_the_killer(world: World) -> Sequence[Expected]:
    """The killer is parked unread, unless a death with another record in hand has cleared it.

    When what it did is read once more before the offsets are committed, it is both: a retry then says that it is done.
    """
    parked = [("parked", f"kafka:{world.inbound}", None, "killed-its-readers")]
    without = {"s-1": [["p1", "p3", "p4"]]}
    return [Expected(without, parked), *all_few(world), replace(all_few(world)[0], parked=parked)]


async def retried(world: World) -> None:
    """A person asks to have another look at a record that killed its readers."""
    async with kit.replicas(world.database) as (replica,):
        await replica.take(said("d1", source=DESK))
    await world.sql.execute("UPDATE messaging.parked SET reason = 'killed-its-readers', fault = true, retry_at = now()")


def few_and_the_retried(_: World) -> Sequence[Expected]:
    """It is looked at once more, and parked again before that, in case that it kills again."""
    parked = [("parked", DESK, "s-1", "killed-its-readers")]
    lanes = {"s-1": [["p1", "p3", "p4"]], "s-2": [["p2"]]}
    return [Expected({**lanes, "s-1": [*lanes["s-1"], ["d1"]]}), Expected(lanes, parked)]


def flood(_: World) -> Sequence[Any]:
    """Large batches, the next of which is read while the one before is written."""
    return [said(f"p{n}", do="open") for n in range(500)]


def all_of_the_flood(_: World) -> Sequence[Expected]:
    """All of them, in order."""
    return [Expected({"s-1": [[f"p{n}" for n in range(500)]]})]


def slow() -> Sequence[Fault]:
    """A batch cannot be handed over, then runs into a timeout twice, and its halves do not; the same for timers."""
    return [
        Fault("look meet", "fetch", LookupError),
        Fault("_settle take", "fetchrow", TimeoutError, times=2),
        Fault("_settle fire_due", "fetchrow", TimeoutError, times=2),
    ]


def in_doubt() -> Sequence[Fault]:
    """Nobody knows in time what is stopped, so that a batch has to ask."""
    return [Fault("look turned", "fetch", asyncpg.ConnectionDoesNotExistError, times=10_000)]


def held() -> Sequence[Fault]:
    """The database goes while records are taken one by one."""
    return [*no_commits(), Fault("_alone", "fetchval", asyncpg.ConnectionDoesNotExistError, times=4)]


async def rival_meanwhile(world: World, life: Life, service: Service) -> None:
    """Another member comes while they are."""
    await till(world, life, "SELECT max(attempts) > 2 FROM messaging.progress")
    await another_member(world, life)


async def more_partitions(world: World, life: Life, service: Service) -> None:
    """Somebody has raised the number of partitions: nothing is read any more, until a person has stopped the service."""
    while not (life.dead or hasattr(service, "membership")):
        await asyncio.sleep(0.005)
    if not life.dead:
        service.membership._partitions.wrong = "too many partitions"
    while not life.dead and len({p.path[0].line for p in life.met if p.path[0].function.endswith("Membership._hand_over")}) < 2:
        await asyncio.sleep(0.02)
    service.stopping.set()


def limit(_: World) -> Sequence[Any]:
    """A limit on an answer, which waits until everything before it was read."""
    return [said("p0", do="open"), said("p1", do="limit")]


def at_the_limit(_: World) -> Sequence[Expected]:
    """It ran out once."""
    return [Expected({"s-1": [["p0", "p1", "bell"]]})]


SCENARIOS = [
    Scenario("an ordinary day", day, end_of_day, commands=[("c1", "s-4", "open")]),
    Scenario("a bad day", bad_day, end_of_bad_day, before=spoilt),
    Scenario("a worse day", worse, worse_is_over, faults=cannot_be_parked),
    Scenario(
        "everything is away for a while", day, end_of_day, [("c1", "s-4", "open")], load=contended, faults=away, max_batch=4
    ),
    Scenario("a limit runs out", limit, at_the_limit),
    Scenario("a rebalance", few, all_few, during=rival, faults=no_commits),
    Scenario("a stop", few, all_few, faults=no_commits),
    Scenario("a slow database", limit, at_the_limit, faults=slow),
    Scenario("a topic may be stopped", few, all_few, faults=in_doubt),
    Scenario("a flood", flood, all_of_the_flood, max_batch=200),
    Scenario("readers died", few, all_few, before=died_before, at_once=1),
    Scenario("readers died and rebalance", few, all_few, before=died_before, during=rival_meanwhile, faults=held, at_once=1),
    Scenario("a record killed", few, but_the_killer, before=killed_before, at_once=1),
    Scenario("a killer is retried", few, few_and_the_retried, before=retried, at_once=1),
    Scenario("more partitions", few, all_few, during=more_partitions, goes_on=False),
]
