"""What operators do to what is set aside: in order, once, on the record, whoever else is at work there."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from tests.support import kit
from tests.support.kit import Replica, blocked, during, inbox, journal, parked, said, sql
from tests.support.operators import Mending, act, acted, looked, operator, refused, sequences, stuck
from tests.support.stack import FreshDatabase, Infra

from messaging import aside, listing
from messaging.aside import NotPossible
from messaging.operating import Action, Wish
from messaging.routes import Kept, Routes, on
from messaging.trouble import Contended

ACTIONS: tuple[Action, ...] = ("retry", "retry", "discard")


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


def test_a_head_that_is_retried_is_applied_and_what_waits_behind_it_follows_in_order(database: FreshDatabase) -> None:
    mending = Mending()

    async def scenario(replica: Replica) -> None:
        head, *_ = await stuck(replica, "w2", "w3")
        mending.failing = False
        assert (await act(replica, "retry", head))["behind"] == 2
        await replica.take(said("w4"))
        await looked(replica)
        await replica.take(said("w5"))

    during(database, scenario, routes=mending.routes)
    assert journal(database) == ["w0", "head", "w2", "w3", "w4", "w5"]
    assert (parked(database), blocked(database)) == ([], [])
    assert acted(database) == [("s-1", "retry", "mended")]
    assert sequences(database) == list(range(1, 8))


def test_a_head_that_fails_again_is_parked_again_and_nothing_overtakes_it(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        head, *_ = await stuck(replica, "w2")
        await act(replica, "retry", head)
        await looked(replica)

    during(database, scenario)
    assert journal(database) == ["w0"]
    assert [row[0::3] for row in parked(database)] == [("parked", "handler-LookupError"), ("waiting", "behind-parked")]


def test_what_is_not_at_the_head_of_its_lane_is_not_retried_and_the_answer_names_who_goes_first(
    database: FreshDatabase,
) -> None:
    async def scenario(replica: Replica) -> Any:
        head, _, last = await stuck(replica, "w2", "w3")
        return head, await refused(act(replica, "retry", last))

    head, (reason, more) = during(database, scenario)
    assert (reason, more) == ("not-at-head", {"ahead": head})
    assert acted(database) == []


def test_a_head_that_is_discarded_opens_its_lane_and_does_not_come_back_when_its_record_does(database: FreshDatabase) -> None:
    head = said("head", do="raise", id="e-head")

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w0", do="open", source="/desk"), head, said("w2"))
        row = await replica.pool.fetchval("SELECT min(n) FROM messaging.parked")
        await act(replica, "discard", row, "sender-corrected")
        await looked(replica)
        await replica.take(said("w3"), head)

    during(database, scenario)
    assert journal(database) == ["w0", "w2", "w3"]
    assert (parked(database), blocked(database)) == ([], [])
    assert inbox(database)[kit.PORTAL, "e-head"] == "discarded"
    assert acted(database) == [("s-1", "discard", "sender-corrected")]


def test_one_of_the_middle_of_a_lane_can_be_discarded_and_the_head_still_holds_the_others(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        _, middle, _ = await stuck(replica, "w2", "w3")
        await act(replica, "discard", middle, "duplicate")
        await looked(replica)

    during(database, scenario)
    assert journal(database) == ["w0"]
    assert len(parked(database)) == 2


def test_what_waits_early_can_be_tried_at_once(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w2"), said("w3"))
        await replica.pool.execute("UPDATE messaging.parked SET retry_at = now() + interval '1 day'")
        await replica.pool.execute(
            "INSERT INTO messaging.state VALUES ('journal', 's-1', 1, 1, 0, $1, '{\"words\": [\"w1\"]}')"
            " ON CONFLICT (kind, subject) DO UPDATE SET body = excluded.body, version = state.version + 1",
            f'["{kit.PORTAL}"]',
        )
        await looked(replica)
        assert await replica.pool.fetchval("SELECT count(*) FROM messaging.parked") == 2
        await act(replica, "retry", await replica.pool.fetchval("SELECT min(n) FROM messaging.parked"))
        await looked(replica)

    during(database, scenario)
    assert journal(database) == ["w1", "w2", "w3"]


def test_the_same_key_does_it_once_and_says_the_same_and_serves_no_other_action(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        head, *_ = await stuck(replica)
        first = await act(replica, "discard", head, key="once")
        again = await act(replica, "discard", head, key="once")
        return first, again, await refused(act(replica, "retry", head, key="once"))

    first, again, (reason, _) = during(database, scenario)
    assert again == first | {"duplicate": True}
    assert reason == "same-id-other-content"
    assert len(acted(database)) == 1


def test_a_dry_run_says_what_would_be_done_and_does_nothing(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        head, last = await stuck(replica, "w2")
        before = await state_of(replica)
        would = await act(replica, "discard", head, dry_run=True), await refused(act(replica, "retry", last, dry_run=True))
        assert await state_of(replica) == before
        return would

    discarded, (reason, _) = during(database, scenario)
    assert (discarded["outcome"], discarded["behind"], discarded["dry_run"]) == ("discarded", 1, True)
    assert reason == "not-at-head"
    assert acted(database) == []


async def state_of(replica: Replica) -> list[Any]:
    tables = ("inbox", "state", "parked", "outbox", "timer")
    return [sorted(map(str, await replica.pool.fetch(f"SELECT * FROM messaging.{table}"))) for table in tables]


def test_what_nobody_can_read_is_discarded_under_the_name_of_the_service(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        await replica.take(kit.broken(b"\xff"), kit.broken(b"{"))
        one, two = [row["n"] for row in await replica.pool.fetch("SELECT n FROM messaging.parked ORDER BY n")]
        told = await refused(act(replica, "retry", one))
        await act(replica, "discard", one, "garbage")
        await act(replica, "discard", two, "garbage")
        return told, await refused(act(replica, "discard", one, "garbage"))

    told, gone = during(database, scenario)
    assert told == ("still-unreadable", {"cause": "not-a-cloudevent", "path": "ce_specversion"})
    assert gone[0] == "not-found"
    assert (parked(database), set(inbox(database).values())) == ([], {"discarded", "applied"})
    assert acted(database) == [(kit.SOURCE, "discard", "garbage")] * 2
    assert sequences(database, kit.SOURCE) == [1, 2]


@pytest.mark.parametrize("kind", ["by-its-place", "by-its-name"])
def test_what_can_be_read_after_an_upgrade_is_retried_on_its_own_lane_before_what_is_younger(
    database: FreshDatabase, kind: str
) -> None:
    class New(kit.Said):
        type = "care.rapport.clinical.test-new.v1"

    class Strict(kit.Said):
        type = kit.Said.type
        number: int

    narrow = Routes(Kept("journal", kit.Journal, on(Strict if kind == "by-its-name" else kit.Said, kit.on_said)))
    wide = Routes(Kept("journal", kit.Journal, on(kit.Said, kit.on_said), on(New, kit.on_said)))
    record = kit.typed(said("new", id="e-new"), New.type) if kind == "by-its-place" else said("new", id="e-new")

    async def before(replica: Replica) -> None:
        await replica.take(record, record)

    async def after(replica: Replica) -> None:
        await stuck(replica, "w2")
        row = await replica.pool.fetchval("SELECT n FROM messaging.parked WHERE subject IS NULL")
        await act(replica, "retry", row)
        await replica.take(record)
        await looked(replica)
        await replica.take(record)

    during(database, before, routes=narrow)
    during(database, after, routes=wide)
    assert journal(database) == ["w0", "new"]
    assert inbox(database)[kit.PORTAL, "e-new"] == "applied"
    assert [row[0] for row in parked(database)] == ["parked", "waiting"]
    assert blocked(database) == [kit.PORTAL]
    assert acted(database) == [("s-1", "retry", "mended")]


def test_what_was_done_already_under_its_own_name_is_not_retried_from_its_place(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[str]:
        first, other = said("w1", do="open", id="e-1"), said("w2", id="e-1")
        await replica.take(first, other)
        killed = said("w9", id="e-9")
        await replica.deciding.park([killed])
        await replica.take(killed)
        rows = await replica.pool.fetch("SELECT n FROM messaging.parked ORDER BY n")
        return [(await refused(act(replica, "retry", row["n"])))[0] for row in rows]

    assert during(database, scenario) == ["same-id-other-content", "done-already"]


def test_nothing_is_discarded_of_what_is_not_there(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[str]:
        names = ("1", "timer-0190c4f0-0000-7000-8000-000000000000", str(2**62))
        return [(await refused(act(replica, "discard", name)))[0] for name in names]

    assert during(database, scenario) == ["not-found"] * 3


def test_a_timer_that_fails_too_often_waits_for_a_person_who_sees_it_and_lets_it_fire_again(database: FreshDatabase) -> None:
    mending = Mending()

    async def scenario(replica: Replica) -> Any:
        await replica.take(said("w0", do="open"), said("w1", do="timer", arg="broken=-60"))
        for _ in range(12):
            await replica.pool.execute("UPDATE messaging.timer SET not_before = now() WHERE not_before < 'infinity'")
            await replica.workers.fire_due()
        (row,) = await listing.rows(replica.pool, listing.Filter(), 0, 10)
        assert (row["attempts"], row["reason"], row["type"]) == (10, "timer-LookupError", "timer:broken")
        assert (await listing.summary(replica.pool))["parked"] == 1
        kept = await refused(act(replica, "discard", row["target"]))
        mending.failing = False
        await act(replica, "retry", row["target"])
        await replica.workers.fire_due()
        return kept, await refused(act(replica, "retry", row["target"]))

    kept, gone = during(database, scenario, routes=mending.routes)
    assert (kept[0], gone[0]) == ("timers-stay", "not-found")
    assert journal(database) == ["w0", "w1", "broken?"]
    assert sql(database, "SELECT FROM messaging.timer") == []
    assert acted(database) == [("s-1", "retry", "mended")]
    assert sequences(database) == [1, 2, 3, 4]


def test_a_state_that_nobody_can_read_does_not_keep_anybody_from_discarding_what_failed_on_it(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w0", do="open"))
        await replica.pool.execute("UPDATE messaging.state SET body = '{\"words\": 7}', schema = 9, version = version + 1")
        await replica.pool.execute("UPDATE messaging.state SET schema = 1")
        await replica.consumer().take([said("w1")])
        rows = await replica.pool.fetch("SELECT n FROM messaging.parked")
        await act(replica, "discard", rows[0]["n"])

    during(database, scenario)
    assert parked(database) == []
    assert sql(database, "SELECT body FROM messaging.state WHERE kind = 'journal'")[0]["body"] == '{"words": 7}'


def test_an_operator_leaves_the_schema_of_a_newer_state_as_it_is(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        head, *_ = await stuck(replica)
        await replica.pool.execute("UPDATE messaging.state SET schema = 9, version = version + 1")
        await act(replica, "discard", head)

    during(database, scenario)
    assert [row["schema"] for row in sql(database, "SELECT schema FROM messaging.state WHERE kind = 'journal'")] == [9]


@pytest.mark.parametrize("seed", range(4))
def test_operators_consumers_and_workers_that_race_keep_order_and_do_each_thing_once(
    database: FreshDatabase, seed: int
) -> None:
    """Every third word fails until it is mended; operators retry and discard what they see, consumers read all of it twice."""
    chance, subjects, mending = random.Random(seed), [f"s-{n}" for n in range(5)], Mending()
    streams = [[said(f"w{n}", s, do="raise" if n % 3 == 0 else "write") for s in subjects] for n in range(1, 19)]
    done: list[str] = []

    async def consume(replica: Replica) -> None:
        for at in range(0, len(streams), 3):
            await replica.take(*(record for row in streams[max(0, at - 3) : at + 3] for record in row))

    async def operate(replica: Replica, reading: asyncio.Event) -> None:
        while not reading.is_set() or await replica.pool.fetchval("SELECT count(*) FROM messaging.parked"):
            for row in await replica.pool.fetch("SELECT n FROM messaging.parked WHERE outcome = 'parked' LIMIT 5"):
                action: Action = chance.choice(ACTIONS)
                with suppress(NotPossible, Contended):
                    await act(replica, action, row["n"])
                    done.append(action)
            mending.failing = chance.random() < 0.5 and not reading.is_set()
            await replica.workers.look_again()

    async def race(*made: Replica) -> None:
        await made[0].take(*(said("w0", s, do="open", source="/desk") for s in subjects))
        reading = asyncio.Event()
        operating = [asyncio.create_task(operate(replica, reading)) for replica in made[1:]]
        await asyncio.gather(*(consume(replica) for replica in made[:2]))
        reading.set()
        await asyncio.wait_for(asyncio.gather(*operating), 40)

    during(database, race, count=3, routes=mending.routes)
    ends = inbox(database)
    assert set(ends.values()) <= {"applied", "discarded"}
    for subject in subjects:
        applied = journal(database, subject)
        assert applied == sorted(set(applied), key=lambda word: int(word[1:])), "in order, each once"
        assert sequences(database, subject) == list(range(1, len(sequences(database, subject)) + 1))
        assert blocked(database, subject) == []
    lost = sum(outcome == "discarded" for outcome in ends.values())
    assert sum(len(journal(database, subject)) for subject in subjects) == 19 * len(subjects) - lost
    said_so = [action for _, action, _ in acted(database)]
    assert sorted(said_so) == sorted(done)
    assert said_so.count("discard") == lost


def test_two_operators_who_discard_the_same_unreadable_record_do_it_once(database: FreshDatabase) -> None:
    async def race(*made: Replica) -> list[str]:
        await made[0].take(*(kit.broken() for _ in range(10)))
        rows = [row["n"] for row in await made[0].pool.fetch("SELECT n FROM messaging.parked")]
        ends = await asyncio.gather(*(act(r, "discard", n) for r in made for n in rows), return_exceptions=True)
        return [end.reason if isinstance(end, NotPossible) else "done" for end in ends]

    ends = during(database, race, count=3)
    assert sorted(ends) == ["done"] * 10 + ["not-found"] * 20
    assert sequences(database, kit.SOURCE) == list(range(1, 11))


def test_one_who_discards_and_one_who_retries_a_record_that_can_be_read_by_now_do_not_both_win(database: FreshDatabase) -> None:
    class New(kit.Said):
        type = "care.rapport.clinical.test-new.v1"

    records = [kit.typed(said(f"w{n}", f"s-{n}", do="open"), New.type) for n in range(12)]
    wide = Routes(Kept("journal", kit.Journal, on(kit.Said, kit.on_said), on(New, kit.on_said)))

    async def race(*made: Replica) -> None:
        rows = [row["n"] for row in await made[0].pool.fetch("SELECT n FROM messaging.parked ORDER BY n")]
        actions: list[tuple[Replica, Action]] = [(made[0], "retry"), (made[1], "discard")]
        wishes = [act(one, action, n) for n in rows for one, action in actions]
        await asyncio.gather(*wishes, made[0].workers.look_again(), made[1].workers.look_again(), return_exceptions=True)
        await looked(made[0])

    during(database, lambda replica: replica.take(*records))
    during(database, race, count=2, routes=wide)
    assert parked(database) == []
    written = [f"s-{n}" for n in range(12) if journal(database, f"s-{n}")]
    thrown_away = [key for (source, key), end in inbox(database).items() if end == "discarded"]
    assert len(written) + len(thrown_away) == 12


def test_a_list_and_a_look_show_reasons_places_and_lanes_and_never_a_body(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        head, second = await stuck(replica, "canary")
        await replica.take(said("x", value=b'{"word": ["canary"]}'))
        rows = await listing.rows(replica.pool, listing.Filter(), 0, 10)
        only = [await listing.rows(replica.pool, listing.Filter(**f), 0, 10) for f in FILTERS]
        return rows, await listing.one(replica.pool, str(head)), await listing.one(replica.pool, str(second)), only

    rows, head, second, only = during(database, scenario)
    assert [(r["outcome"], r["reason"], r["path"], r["ahead"], r["behind"]) for r in rows] == [
        ("parked", "handler-LookupError", None, 0, 1), ("waiting", "behind-parked", None, 1, 0),
        ("parked", "schema-string-type", "/word", 0, 0),
    ]  # fmt: skip
    assert [(o["ahead"], o["reason"]) for o in head["lane"] + second["lane"]] == [
        (False, "behind-parked"), (True, "handler-LookupError"),
    ]  # fmt: skip
    assert "mend" in head["advice"]
    assert "canary" not in str((rows, head, second))
    assert [len(found) for found in only] == [2, 1, 3, 3, 2, 0]


FILTERS: list[dict[str, str]] = [
    {"outcome": "parked"}, {"reason": "schema-string-type"}, {"type": "test-said"}, {"type": kit.Said.type},
    {"subject": "s-1"}, {"id": "nobody"},
]  # fmt: skip


@dataclass(frozen=True)
class OnePool:
    """A pool of one connection, whose transaction somebody else ends."""

    connection: Any

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        yield self.connection


@pytest.mark.parametrize("kind", ["alone", "in-its-lane"])
def test_who_retries_while_the_transaction_of_one_who_discards_is_open_waits_and_finds_nothing(
    database: FreshDatabase, kind: str
) -> None:
    async def scenario(replica: Replica) -> Any:
        killed = said("w1", do="open")
        await (replica.deciding.park([killed]) if kind == "alone" else replica.take(said("w1", do="raise")))
        async with replica.pool.acquire() as connection, connection.transaction():
            wish = Wish("discard", "1", "otto", "k-otto", "garbage")
            await replace(operator(replica), pool=cast(Any, OnePool(connection))).act(wish)
            retrying = asyncio.create_task(refused(act(replica, "retry", 1)))
            await asyncio.sleep(0.7)
            assert not retrying.done()
        reason, _ = await asyncio.wait_for(retrying, 10)
        await looked(replica)
        return reason

    assert during(database, scenario) == "not-found"
    assert (journal(database), parked(database)) == ([], [])
    assert [(action, reason) for _, action, reason in acted(database)] == [("discard", "garbage")]


def test_a_timer_that_fired_while_somebody_let_it_fire_again_does_not_come_back(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the timer and the read of the version, another operator was faster, and it has fired."""
    find, looks = aside.find, list[str]()

    async def scenario(replica: Replica, other: Replica) -> Any:
        await replica.take(said("w0", do="open"), said("w1", do="timer", arg="bell=-60"))
        await replica.pool.execute("UPDATE messaging.timer SET not_before = 'infinity'")
        timer = f"timer-{await replica.pool.fetchval('SELECT id FROM messaging.timer')}"

        async def faster(connection: Any, action: str, name: str, routes: Routes) -> Any:
            found = await find(connection, action, name, routes)
            looks.append(name)
            if len(looks) == 1:
                await act(other, "retry", timer)
                await other.workers.fire_due()
            return found

        monkeypatch.setattr(aside, "find", faster)
        return await refused(act(replica, "retry", timer))

    assert during(database, scenario, count=2)[0] == "not-found"
    assert sql(database, "SELECT FROM messaging.timer") == []
    assert journal(database) == ["w0", "w1", "bell?"]
