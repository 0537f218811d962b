"""Due timers: each fires once, never after it was replaced or cancelled, and none keeps the others from firing."""

import asyncio
from datetime import timedelta, timezone
from typing import Any

import pytest
from tests.support import kit
from tests.support.kit import Journal, Replica, during, journal, said, sql
from tests.support.stack import FreshDatabase, Infra

from contracts.topics import CLINICAL, PARTITIONS
from messaging.decision import Decision, DueTimer, NoContext, Timer
from messaging.routes import Kept, Routes, due, on


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


def bell(word: str, subject: str = "s-1", name: str = "bell", seconds: float = 0, source: str = kit.PORTAL) -> Any:
    """Opens or writes a journal and sets a timer."""
    return said(word, subject, do="timer", arg=f"{name}={seconds}", source=source)


async def opened(replica: Replica, *subjects: str) -> None:
    await replica.handle(*(said("w0", subject, do="open") for subject in subjects))


def timers(database: FreshDatabase) -> list[tuple[str, str]]:
    return [(row["subject"], row["name"]) for row in sql(database, "SELECT subject, name FROM messaging.timer ORDER BY 1, 2")]


def test_replicas_that_race_fire_each_timer_once(database: FreshDatabase) -> None:
    subjects = [f"s-{n}" for n in range(30)]

    async def race(*made: Replica) -> None:
        await opened(made[0], *subjects)
        await made[0].take(*(bell("w1", subject) for subject in subjects))
        await asyncio.gather(*(replica.workers.fire_due() for replica in made for _ in range(3)))

    during(database, race, count=3)
    assert [journal(database, subject) for subject in subjects] == [["w0", "w1", "bell?"]] * len(subjects)
    assert timers(database) == []


@pytest.mark.parametrize("then", [{"do": "cancel", "arg": "bell"}, {"do": "timer", "arg": "bell=3600"}])
def test_a_timer_read_as_due_does_not_fire_when_it_is_cancelled_or_replaced_before_it_is_decided(
    database: FreshDatabase, then: dict[str, str]
) -> None:
    async def scenario(replica: Replica, other: Replica) -> None:
        await opened(replica, "s-1", "s-2")
        await replica.take(bell("w1"), bell("w1", "s-2"))
        handle = replica.processor.handle

        async def late(batch: Any) -> Any:
            await other.take(said("w2", **then))
            return await handle(batch)

        replica.processor.handle = late  # type: ignore[method-assign]
        assert await replica.workers.fire_due() == 2

    during(database, scenario, count=2)
    assert journal(database) == ["w0", "w1", "w2"]
    assert journal(database, "s-2") == ["w0", "w1", "bell?"]


def test_a_timer_cancelled_between_the_read_and_the_write_loses_and_does_not_fire(database: FreshDatabase) -> None:
    others: list[Replica] = []

    async def load(_: Any, messages: Any) -> Any:
        if isinstance(messages[0].data, DueTimer) and others:
            await others.pop().take(said("w2", do="cancel", arg="bell"))
        return NoContext()

    async def scenario(replica: Replica) -> None:
        await opened(replica, "s-1")
        await replica.take(bell("w1"))
        async with kit.replicas(database) as made:
            others.extend(made)
            await replica.workers.fire_due()

    during(database, scenario, load=load)
    assert journal(database) == ["w0", "w1", "w2"]


def test_a_timer_cancelled_by_one_that_fires_in_the_same_batch_does_not_fire(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await opened(replica, "s-1")
        await replica.take(bell("w1", name="first", seconds=-2), bell("w2", name="bell", seconds=-1))
        await replica.workers.fire_due()
        await replica.workers.fire_due()

    during(database, scenario)
    assert journal(database) == ["w0", "w1", "w2", "first"]
    assert timers(database) == []


def test_a_timer_set_and_cancelled_or_set_twice_in_one_batch_is_as_was_said_last(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await opened(replica, "s-1", "s-2")
        await replica.take(
            bell("w1"), said("w2", do="cancel", arg="bell"),
            bell("w1", "s-2", seconds=-5), said("w2", "s-2", do="cancel", arg="bell"), bell("w3", "s-2"), bell("w4", "s-2"),
        )  # fmt: skip
        await replica.workers.fire_due()
        await replica.workers.fire_due()

    during(database, scenario)
    assert journal(database) == ["w0", "w1", "w2"]
    assert journal(database, "s-2") == ["w0", "w1", "w2", "w3", "w4", "bell?"]


def test_a_timer_may_set_itself_again_and_fires_again(database: FreshDatabase) -> None:
    def again(timer: DueTimer, state: Journal, facts: Any) -> Decision[Journal]:
        return Decision(Journal((*state.words, timer.name)), timers=[Timer(timer.name, facts.now)])

    routes = Routes(Kept("journal", Journal, on(kit.Said, kit.on_said), due("bell", again)))

    async def scenario(replica: Replica) -> None:
        await opened(replica, "s-1")
        await replica.take(bell("w1"))
        for _ in range(3):
            await replica.workers.fire_due()

    during(database, scenario, routes=routes)
    assert journal(database) == ["w0", "w1", "bell", "bell", "bell"]


@pytest.mark.parametrize("name", ["broken", "early", "unknown"])
def test_timers_that_fail_back_off_and_others_fire(database: FreshDatabase, name: str) -> None:
    async def scenario(replica: Replica) -> list[int]:
        await opened(replica, *(f"s-{n}" for n in range(6)))
        await replica.take(*(bell("w1", f"s-{n}", name=name, seconds=-60) for n in range(5)), bell("w1", "s-5"))
        return [await replica.workers.fire_due(limit=3) for _ in range(4)]

    turns = during(database, scenario)
    assert journal(database, "s-5") == ["w0", "w1", "bell?"]
    assert turns[-1] == 0
    assert len(timers(database)) == 5


def test_a_failing_timer_fires_when_its_code_is_mended(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await opened(replica, "s-1")
        await replica.take(bell("w1", name="broken"))
        await replica.workers.fire_due()

    during(database, scenario)
    assert [row["attempts"] for row in sql(database, "SELECT attempts FROM messaging.timer")] == [1]
    kit.as_owner(database, "UPDATE messaging.timer SET attempts = 8, not_before = NULL")
    during(database, lambda replica: replica.workers.fire_due())
    kit.as_owner(database, "UPDATE messaging.timer SET not_before = not_before - interval '64 seconds'")
    kit.shift_clock(database, "3 seconds")
    mended = Routes(Kept("journal", Journal, on(kit.Said, kit.on_said), due("broken", kit.on_bell)))
    during(database, lambda replica: replica.workers.fire_due(), routes=mended)
    assert journal(database) == ["w0", "w1", "broken?"]


def patient(patience: timedelta | None) -> Routes:
    def on_said(event: kit.Said, state: Journal | None, facts: Any) -> Any:
        return Decision(Journal((event.word,)), timers=[Timer("bell", facts.now, patience)])

    return Routes(Kept("journal", Journal, on(kit.Said, on_said), due("bell", kit.on_bell)))


async def read_up_to(replica: Replica, instant: str, topic: str = CLINICAL, parts: range = range(PARTITIONS)) -> None:
    await replica.pool.execute(
        f"""INSERT INTO messaging.progress (topic, part, read_up_to) SELECT $1, p, {instant} FROM unnest($2::int[]) AS p
            ON CONFLICT (topic, part) DO UPDATE SET read_up_to = excluded.read_up_to""",
        topic, list(parts),
    )  # fmt: skip


def test_a_limit_on_an_answer_waits_until_every_partition_was_read_past_it(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[int]:
        await replica.take(said("w1"))
        fired = [await replica.workers.fire_due()]
        await read_up_to(replica, "now() + interval '1 minute'")
        await read_up_to(replica, "now() - interval '1 minute'", parts=range(7, 8))
        fired.append(await replica.workers.fire_due())
        await read_up_to(replica, "now() + interval '1 minute'", parts=range(7, 8))
        return [*fired, await replica.workers.fire_due()]

    assert during(database, scenario, routes=patient(None)) == [0, 0, 1]
    assert journal(database) == ["w1", "bell"]


def test_a_topic_that_is_no_longer_read_holds_no_limit_up(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> int:
        await read_up_to(replica, "'-infinity'", topic="gone.events.v1")
        await read_up_to(replica, "now() + interval '1 minute'")
        await replica.take(said("w1"))
        return await replica.workers.fire_due()

    assert during(database, scenario, routes=patient(None)) == 1


def test_an_escalation_fires_after_its_patience_and_says_that_answers_may_be_unread(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[int]:
        await read_up_to(replica, "now() - interval '1 minute'")
        await replica.take(said("w1"))
        fired = [await replica.workers.fire_due()]
        await asyncio.to_thread(kit.shift_clock, database, "20 seconds")
        return [*fired, await replica.workers.fire_due()]

    assert during(database, scenario, routes=patient(timedelta(seconds=10))) == [0, 1]
    assert journal(database) == ["w1", "bell?"]


def test_a_limit_in_another_zone_of_the_earth_is_a_limit_too(database: FreshDatabase) -> None:
    def on_said(event: kit.Said, state: Journal | None, facts: Any) -> Any:
        west = facts.now.astimezone(timezone(timedelta(hours=-8)))
        return Decision(Journal((event.word,)), timers=[Timer("bell", west, None)])

    routes = Routes(Kept("journal", Journal, on(kit.Said, on_said), due("bell", kit.on_bell)))

    async def scenario(replica: Replica) -> int:
        await read_up_to(replica, "now() + interval '1 minute'")
        await replica.take(said("w1"))
        return await replica.workers.fire_due()

    assert during(database, scenario, routes=routes) == 1


def test_hastening_wakes_those_who_waited_longest_in_their_order_and_no_other_name(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await opened(replica, *(f"s-{n}" for n in range(30)))
        await replica.take(*(bell("w1", f"s-{n}", seconds=7200 - n) for n in range(30)), bell("w1", name="first", seconds=60))
        await replica.take(said("w2", do="hasten", arg="bell"))
        assert await replica.workers.fire_due() == 20

    during(database, scenario)
    rung = sql(database, "SELECT key FROM messaging.outbox WHERE convert_from(value, 'UTF8') LIKE '%bell%' ORDER BY n")
    assert [row["key"] for row in rung] == [f"s-{n}" for n in range(29, 9, -1)]


def test_who_begins_to_wait_in_the_batch_that_hastens_is_woken(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await opened(replica, "s-1", "s-2")
        await replica.take(said("w1", "s-2", do="hasten", arg="bell"), bell("w1", seconds=3600))
        await replica.workers.fire_due()

    during(database, scenario)
    assert journal(database) == ["w0", "w1", "bell?"]


def test_a_timer_is_caused_by_the_event_that_set_it(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await opened(replica, "s-1")
        await replica.take(said("w1", do="timer", arg="bell=0", id="cause", correlationid="whole", sensitivity="part2"))
        await replica.workers.fire_due()

    during(database, scenario)
    (last,) = sql(database, "SELECT headers FROM messaging.outbox ORDER BY n DESC LIMIT 1")
    for pair in ('"ce_causationid","cause"', '"ce_correlationid","whole"', '"ce_sensitivity","part2"'):
        assert pair in last["headers"]
