"""Which lane waits for what: broken events of ours hold theirs, independent ones hold none, patience counts what was read."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.support import kit
from tests.support.kit import Journal, Replica, blocked, during, inbox, journal, outbox, parked, said, sql
from tests.support.operators import act, looked, refused
from tests.support.stack import FreshDatabase, Infra

from contracts.topics import CLINICAL, PARTITIONS
from messaging import parking
from messaging.decision import NoContext
from messaging.parking import is_our_fault
from messaging.routes import Kept, Routes, on

INTAKE_TOPIC, INTAKE_SOURCE = "intake.events.v1", "/rapport/intake"


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


class Opened(kit.Said):
    """Something that intake says."""

    type = "care.rapport.intake.test-opened.v1"


class Stricter(kit.Said):
    """The same as an older version of us reads it."""

    type = Opened.type
    number: int


def reading(event: type[kit.Said], **how: Any) -> Routes:
    """A service that hears intake and portals."""
    return Routes(Kept("journal", Journal, on(kit.Said, kit.on_said), on(event, kit.on_said, **how)))


def from_intake(word: str, subject: str = "s-1", **changes: Any) -> Any:
    """A record as intake says it on its own topic."""
    return kit.typed(said(word, subject, source=INTAKE_SOURCE, topic=INTAKE_TOPIC, **changes), Opened.type)


def test_a_broken_event_of_our_own_holds_its_lane_and_no_other_until_we_can_read_it(database: FreshDatabase) -> None:
    async def before(replica: Replica) -> None:
        await replica.take(said("w0", do="open"), said("w0", "s-2", do="open"))
        await replica.take(from_intake("w1"), from_intake("w2"), said("w9"), from_intake("w1", "s-2"))
        assert await asyncio.to_thread(blocked, database) == [INTAKE_SOURCE]
        assert (await refused(act(replica, "retry", 2)))[0] == "not-at-head"

    async def after(replica: Replica) -> None:
        await act(replica, "retry", 1, "upgraded")
        await looked(replica)

    during(database, before, routes=reading(Stricter))
    assert [row[1:] for row in parked(database)] == [
        (INTAKE_SOURCE, "s-1", "schema-missing"), (INTAKE_SOURCE, "s-1", "behind-parked"),
        (INTAKE_SOURCE, "s-2", "schema-missing"),
    ]  # fmt: skip
    assert sql(database, "SELECT path FROM messaging.parked ORDER BY n LIMIT 1")[0]["path"] == "/number"
    during(database, after, routes=reading(Opened))
    assert journal(database) == ["w0", "w9", "w1", "w2"]


@pytest.mark.parametrize("record", [{"source": kit.PORTAL, "topic": CLINICAL}, {"source": INTAKE_SOURCE, "subject": None}])
def test_a_broken_event_from_outside_or_about_nobody_is_parked_alone(database: FreshDatabase, record: dict[str, Any]) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w0", do="open"))
        broken = said("x", value=b'{"number": 1}', **{"topic": INTAKE_TOPIC, **record})
        await replica.take(kit.typed(broken, Opened.type) if record["source"] == INTAKE_SOURCE else broken, said("w1"))

    during(database, scenario, routes=reading(Opened))
    assert journal(database) == ["w0", "w1"]
    assert [row[2] for row in parked(database)] == [None]


def test_an_independent_event_that_is_parked_holds_nobody_up_and_can_be_retried(database: FreshDatabase) -> None:
    failing = [True]

    def on_opened(event: Any, state: Any, facts: Any) -> Any:
        return kit.on_said(event if failing[0] else event.model_copy(update={"do": "write"}), state, facts)

    routes = Routes(Kept("journal", Journal, on(kit.Said, kit.on_said), on(Opened, on_opened, independent=True)))

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w0", do="open"), from_intake("w1", do="raise"), from_intake("w2", do="raise"))
        await replica.take(from_intake("w3"))
        assert await asyncio.to_thread(lambda: (journal(database), blocked(database))) == (["w0", "w3"], [])
        for row in (1, 2):
            await act(replica, "retry", row)
            await looked(replica)
        failing[0] = False
        await act(replica, "retry", 2)
        await looked(replica)
        await act(replica, "discard", 1)

    during(database, scenario, routes=routes)
    assert journal(database) == ["w0", "w3", "w2"]
    assert (parked(database), blocked(database)) == ([], [])


def test_an_independent_event_that_waited_and_then_fails_leaves_its_lane_to_the_others(database: FreshDatabase) -> None:
    def on_opened(event: Any, state: Any, facts: Any) -> Any:
        return kit.on_said(event, state, facts) if state is None or event.do == "write" else 1 / 0

    routes = Routes(Kept("journal", Journal, on(kit.Said, kit.on_said), on(Opened, on_opened, independent=True)))

    async def scenario(replica: Replica) -> None:
        await replica.take(from_intake("w1", do="refuse"), from_intake("w2"), from_intake("w3"))
        await replica.take(said("w0", do="open"))
        await looked(replica, 3)
        await replica.take(from_intake("w4"))

    during(database, scenario, routes=routes)
    assert journal(database) == ["w0", "w2", "w3", "w4"]
    assert [(row[0], row[2], row[3]) for row in parked(database)] == [("parked", None, "handler-ZeroDivisionError")]
    assert blocked(database) == []


def test_what_came_too_early_is_not_given_up_while_what_may_release_it_is_still_unread(database: FreshDatabase) -> None:
    """After an outage of ours a whole backlog may be older than the limit, and its answer lies a little further in Kafka."""

    async def read_up_to(replica: Replica, instant: str) -> None:
        await replica.pool.execute(
            f"INSERT INTO messaging.progress (topic, part, read_up_to) SELECT $1, p, {instant} FROM generate_series(0, $2) AS p"
            " ON CONFLICT (topic, part) DO UPDATE SET read_up_to = excluded.read_up_to",
            CLINICAL, PARTITIONS - 1,
        )  # fmt: skip

    async def scenario(replica: Replica) -> list[Any]:
        await replica.take(said("w1"))
        await read_up_to(replica, "now()")
        await asyncio.to_thread(kit.shift_clock, database, "3 hours")
        await looked(replica, 1)
        waits = await replica.pool.fetchrow("SELECT outcome, retry_at - messaging.now() < '3 seconds' FROM messaging.parked")
        await read_up_to(replica, "now() + interval '3 hours'")
        await asyncio.to_thread(kit.shift_clock, database, "181 minutes")
        await looked(replica, 1)
        return [*(waits or ()), await replica.pool.fetchval("SELECT outcome FROM messaging.parked")]

    assert during(database, scenario) == ["waiting", True, "parked"]


def test_a_look_that_waits_long_for_its_turn_gives_nothing_up_that_was_not_to_be_given_up(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        handle = replica.processor.handle

        async def later(batch: Any) -> Any:
            await asyncio.to_thread(kit.shift_clock, database, "4 hours")
            return await handle(batch)

        await replica.take(said("w1"))
        await replica.pool.execute("INSERT INTO messaging.progress (topic, part, read_up_to) VALUES ($1, 0, now())", CLINICAL)
        await asyncio.to_thread(kit.shift_clock, database, "3 hours")
        replica.processor.handle = later  # type: ignore[method-assign]
        await looked(replica, 1)
        return await replica.pool.fetchval("SELECT outcome FROM messaging.parked")

    assert during(database, scenario) == "waiting"


def test_what_came_too_early_is_given_up_at_its_limit_and_not_at_some_later_look(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1"))
        await asyncio.sleep(1.1)
        await looked(replica, 1)
        await asyncio.sleep(0.6)
        await looked(replica, 1)

    during(database, scenario, early_limit=timedelta(seconds=1.5))
    assert [row[0] for row in parked(database)] == ["parked"]


def test_of_a_record_that_is_too_large_only_place_size_and_hash_are_kept(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "MAX_KEPT", 1000)
    large = b'{"word":"' + b"x" * 2000 + b'"}'

    async def scenario(replica: Replica) -> list[str]:
        await replica.take(said("x", value=large[:-1]), said("w1", value=large), said("w2"))
        await replica.take(said("w0", do="open", source="/desk"))
        await looked(replica)
        return [(await refused(act(replica, "retry", n)))[0] for n in (1, 2)]

    assert during(database, scenario) == ["too-large"] * 2
    kept = sql(database, "SELECT reason, value, size, length(digest) AS hash FROM messaging.parked ORDER BY n")
    assert [tuple(row) for row in kept][:2] == [("schema-json-invalid", None, 2010, 64), ("too-large", None, 2011, 64)]
    assert [row[0] for row in parked(database)] == ["parked", "parked", "waiting"]
    assert [row[2] for row in outbox(database, kit.PARKED_TOPIC)] == ["schema-json-invalid", "too-large"]


def test_a_record_that_killed_its_readers_is_parked_again_before_it_is_read_again(database: FreshDatabase) -> None:
    killer = said("w1", id="killer")
    died: list[str] = []

    async def load(_: Any, messages: Any) -> Any:
        if died == [] and messages and messages[0].claim[1] == "killer":
            died.append("died")
            raise KeyboardInterrupt
        return NoContext()

    async def scenario(replica: Replica) -> None:
        await replica.deciding.park([killer])
        await replica.take(said("w0", do="open"))
        await act(replica, "retry", 1)
        with pytest.raises(KeyboardInterrupt):
            await replica.workers.look_again()
        assert [row[0] for row in await asyncio.to_thread(parked, database)] == ["parked"]
        assert await replica.workers.look_again() == 0
        await act(replica, "retry", 1)
        await looked(replica)

    during(database, scenario, load=load)
    assert (journal(database), parked(database)) == (["w0", "w1"], [])
    assert inbox(database)[kit.PORTAL, "killer"] == "applied"


def test_what_was_parked_by_its_place_is_not_parked_again_in_its_lane(database: FreshDatabase) -> None:
    """A process may die before its offset is committed, and its successor may be able to park it in its lane."""

    async def scenario(replica: Replica) -> None:
        refused, fine = said("x", do="nul"), said("p1", "s-2", do="open")
        await replica.deciding.park([refused], "unprocessable-DataError")
        await replica.take(refused, fine)

    during(database, scenario)
    assert parked(database) == [("parked", f"kafka:{CLINICAL}", None, "unprocessable-DataError")]
    assert (blocked(database), journal(database, "s-2")) == ([], ["p1"])


@pytest.mark.parametrize(
    ("topic", "reason", "ours"),
    [
        (CLINICAL, "handler-KeyError", True), (CLINICAL, "unprocessable-DataError", True), (CLINICAL, "unreadable-X", True),
        (CLINICAL, "killed-its-readers", True), (INTAKE_TOPIC, "schema-missing", True), (CLINICAL, "schema-missing", False),
        (CLINICAL, "not-a-cloudevent", False), (CLINICAL, "unknown-type", False), (CLINICAL, "foreign-source", False),
        (CLINICAL, "same-id-other-content", False), (CLINICAL, "subject-missing", False), (CLINICAL, "plan-unknown", False),
        (CLINICAL, "too-large", False),
    ],
)  # fmt: skip
def test_only_what_a_change_of_our_code_mends_is_our_fault(topic: str, reason: str, ours: bool) -> None:
    assert is_our_fault(kit.Record((), b"", topic), reason) is ours
