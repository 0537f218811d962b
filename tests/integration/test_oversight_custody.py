"""Views of custody on real PostgreSQL, read from the ledger alone: the same as the pure ones, whatever was recorded first."""

import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.test_oversight_record import records_of
from tests.support.journeys import DAY, EPISODE, Journey, whole_journey
from tests.support.kept import on_empty_ledger
from tests.support.stack import FreshDatabase, Infra

from contracts import handoff
from contracts.at_risk import ENOUGH
from contracts.custody import Recorded
from contracts.custody_views import terms_of
from contracts.handoff_view import handoffs_in
from messaging.metrics import Meters
from messaging.migrate import migrate
from oversight import custody_store, views
from oversight.consumer import Recorder

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    return fresh


@pytest.fixture
def use(database: FreshDatabase) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    return on_empty_ledger(database)


async def record(pool: Any, *journeys: Journey | list[Recorded]) -> None:
    """Each in a batch of its own."""
    for journey in journeys:
        events = journey.events if isinstance(journey, Journey) else journey
        await Recorder(pool, b"k" * 16, Meters()).take(records_of(events))


def begun(ago: timedelta, episode: str | None = None) -> Journey:
    """An episode that intake opened so long ago, and offered to matching with an hour to answer."""
    journey = Journey(now=datetime.now(UTC) - ago)
    journey.intake().offer("matching")
    return about(journey, episode)


def about(journey: Journey, episode: str | None = None) -> Journey:
    """The same journey of another client."""
    subject = episode or str(uuid.uuid4())
    ids = {event.handoff_id: str(uuid.uuid4()) for _, event in journey.events if hasattr(event, "handoff_id")}
    journey.events = [(_moved(envelope, subject), _renamed(event, ids)) for envelope, event in journey.events]
    return journey


def _moved(envelope: Any, subject: str) -> Any:
    return envelope.model_copy(update={"subject": subject, "id": str(uuid.uuid4())})


def _renamed(event: Any, ids: dict[str, str]) -> Any:
    names = [name for name in ("handoff_id", "previous", "current", "next_handoff_id") if getattr(event, name, None)]
    return event.model_copy(update={name: ids.get(getattr(event, name), getattr(event, name)) for name in names})


def escalated() -> Journey:
    journey = Journey(now=datetime.now(UTC) - DAY)
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    arbiter.accept()
    return journey


def test_custody_read_from_the_record_is_what_the_events_say_in_whatever_order_they_were_recorded(use: Any) -> None:
    events = whole_journey().events
    shuffled = list(events)
    random.Random(7).shuffle(shuffled)

    async def act(pool: Any) -> Any:
        await record(pool, shuffled)
        rows = await custody_store.episode(pool, EPISODE, None) or []
        return views.custody(rows, None, await custody_store.now(pool))

    told = use(act)
    assert told["custodian"] == "followup"
    assert [term["begins"] for term in told["terms"]] == [term.begins for term in terms_of(events)]
    assert [one["accepted_at"] for one in told["handoffs"]] == [view.accepted_at for view in handoffs_in(events)]


def test_as_it_was_at_an_instant_the_earlier_custodian_held_it_and_the_later_handoff_had_not_been_offered(use: Any) -> None:
    events = whole_journey().events
    accepted = handoffs_in(events)[0].accepted_at
    assert accepted

    async def act(pool: Any) -> Any:
        await record(pool, events)
        rows = await custody_store.episode(pool, EPISODE, None) or []
        return [views.custody(rows, at, at) for at in (accepted - timedelta(microseconds=1), accepted)]

    before, then = use(act)
    assert (before["custodian"], [one["state"] for one in before["handoffs"]]) == ("intake", ["offered"])
    assert (then["custodian"], [one["state"] for one in then["handoffs"]]) == ("matching", ["accepted"])


def test_as_it_was_known_nothing_counts_that_was_recorded_later_however_old_it_is(use: Any) -> None:
    events = whole_journey().events

    async def act(pool: Any) -> Any:
        await record(pool, events[:3])
        known = await pool.fetchval("SELECT clock_timestamp()")
        await record(pool, events[3:])
        told = [await custody_store.episode(pool, EPISODE, by) for by in (known - DAY, known, None)]
        return [views.custody(rows or [], None, known)["custodian"] for rows in told], told[0]

    assert use(act) == ([None, "intake", "followup"], [])


def test_an_episode_of_which_nothing_was_ever_recorded_is_unknown(use: Any) -> None:
    assert use(lambda pool: custody_store.episode(pool, EPISODE, None)) is None


def test_handoffs_that_stand_come_with_their_times_the_soonest_deadline_first(use: Any) -> None:
    late, soon = begun(2 * HOUR), begun(HOUR / 2)
    closed = [about(whole_journey()), about(escalated())]

    async def act(pool: Any) -> Any:
        await record(pool, soon, late, *closed)
        return [await views.handoffs(pool, None, wanted, 10) for wanted in (None, True, False)]

    everything, only_late, in_time = use(act)
    assert [one["episode"] for one in everything] == [late.events[0][0].subject, soon.events[0][0].subject]
    assert [(one["late"], one["state"], one["attempt"], one["answered_at"]) for one in everything] == [
        (True, "offered", 1, None), (False, "offered", 1, None),
    ]  # fmt: skip
    assert everything[0]["offered_at"] == late.events[1][0].time
    assert (only_late, in_time) == (everything[:1], everything[1:])


def test_what_its_giver_took_back_or_offered_anew_no_longer_stands(use: Any) -> None:
    anew = Journey(now=datetime.now(UTC))
    arbiter = anew.intake()
    arbiter.offer("matching")
    arbiter.offer("crisis-desk", "crisis")
    back = Journey(now=datetime.now(UTC))
    onward = back.matching().offer("followup", "followup")
    superseded = handoff.HandoffSuperseded.__subclasses__()
    took_back = next(kind for kind in superseded if ".matching." in kind.type)
    back.say("matching", took_back(handoff_id=onward.id, answered_by="followup"))

    async def act(pool: Any) -> Any:
        await record(pool, about(anew), about(back))
        return await views.handoffs(pool, None, None, 10), await views.handoffs(pool, "superseded", None, 10)

    standing, taken_back = use(act)
    assert [(one["receiver"], one["state"]) for one in standing] == [("crisis-desk", "offered")]
    assert [(one["receiver"], one["state"]) for one in taken_back] == [("followup", "superseded")]


def test_handoffs_about_which_something_was_said_are_found_the_newest_first(use: Any) -> None:
    first, second = about(escalated()), about(escalated())

    async def act(pool: Any) -> Any:
        await record(pool, first, second, about(whole_journey()))
        return await views.handoffs(pool, "overdue", None, 10), await views.handoffs(pool, "overdue", False, 10)

    overdue, not_late = use(act)
    assert [one["episode"] for one in overdue] == [second.events[0][0].subject, first.events[0][0].subject]
    assert [(one["state"], one["late"], one["overdue_at"] is not None) for one in overdue] == [("escalated", True, True)] * 2
    assert not_late == []


def test_with_few_answers_the_last_quarter_of_the_limit_is_at_risk_and_those_past_it_come_first(use: Any) -> None:
    late, near, fine = begun(2 * HOUR), begun(timedelta(minutes=50)), begun(timedelta(minutes=10))

    async def act(pool: Any) -> Any:
        await record(pool, fine, near, late, about(whole_journey()))
        return await views.risks(pool, 10), await views.risks(pool, 1)

    found, first = use(act)
    assert [(one["episode"], one["why"], one["p95_seconds"]) for one in found] == [
        (late.events[0][0].subject, "past-deadline", None), (near.events[0][0].subject, "little-left", None),
    ]  # fmt: skip
    assert [one["episode"] for one in first] == [late.events[0][0].subject]


def test_a_kind_that_takes_longer_than_its_limit_is_at_risk_by_its_own_p95(use: Any) -> None:
    waiting = begun(timedelta(minutes=20))

    async def act(pool: Any) -> Any:
        for _ in range(ENOUGH):
            slow = Journey(now=datetime.now(UTC) - DAY)
            arbiter = slow.intake()
            arbiter.offer("matching")
            slow.now += timedelta(minutes=61)
            arbiter.accept()
            await record(pool, about(slow))
        none_yet = await views.risks(pool, 10)
        await record(pool, waiting)
        later = begun(timedelta(minutes=1))
        await record(pool, later)
        return none_yet, await views.risks(pool, 10)

    none_yet, found = use(act)
    assert none_yet == []
    assert [one["why"] for one in found] == ["needs-longer", "needs-longer"]
    assert [one["p95_seconds"] for one in found] == pytest.approx([3662, 3662], abs=2)
    assert found[0]["needs_seconds"] == pytest.approx(3662 - 1200, abs=30)


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_findings_are_the_same_whatever_the_page(use: Any, limit: int) -> None:
    good = [about(whole_journey()) for _ in range(3)]
    lost = about(whole_journey())
    gone = next(one for one in lost.events if isinstance(one[1], handoff.HandoffAccepted))
    lost.events.remove(gone)
    left = begun(DAY)

    async def act(pool: Any) -> Any:
        await record(pool, *good, lost, left)
        found: list[Any] = []
        opened: list[str] = []
        after: str | None = ""
        while after is not None:
            rows, after = await custody_store.page(pool, after, limit)
            told = views.findings(rows, datetime.now(UTC), timedelta(0))
            found += told["findings"]
            opened += told["open"]
        return found, opened

    found, opened = use(act)
    assert len(opened) == len(set(opened)) == 5
    assert {(one["episode"], one["code"]) for one in found} == {
        (lost.events[0][0].subject, "not-custodian"),
        (lost.events[0][0].subject, "unconfirmed"),
        (lost.events[0][0].subject, "never-escalated"),
        (left.events[0][0].subject, "never-escalated"),
    }
