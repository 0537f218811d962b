"""Views of custody: the same for every interleaving of the topics, one custodian at every instant whatever the clocks say."""

import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.support.journeys import DAY, START, Journey, any_journey, whole_journey

from contracts import handoff, matching
from contracts.custody import Recorded
from contracts.custody_views import by_then, custodian_at, terms_of
from contracts.handoff_view import HandoffView, handoffs_in

HOUR = timedelta(hours=1)
MOMENT = timedelta(milliseconds=1)


def views(events: list[Recorded]) -> list[tuple[str, str, str]]:
    return [(view.giver, view.receiver, view.state) for view in handoffs_in(events)]


def the(events: list[Recorded], handoff_id: str) -> HandoffView:
    return next(view for view in handoffs_in(events) if view.handoff_id == handoff_id)


def interleaved(data: st.DataObject, events: list[Recorded]) -> list[Recorded]:
    """Any order in which each service's own events keep theirs."""
    lanes = {envelope.source: [e for e in events if e[0].source == envelope.source] for envelope, _ in events}
    turns = [source for source, lane in lanes.items() for _ in lane]
    random.Random(data.draw(st.integers())).shuffle(turns)
    return [lanes[source].pop(0) for source in turns]


@given(st.data())
def test_every_interleaving_of_the_topics_gives_the_same_views(data: st.DataObject) -> None:
    events = any_journey(data).events
    found = interleaved(data, events)
    instant = data.draw(st.sampled_from([envelope.time for envelope, _ in events]))
    assert terms_of(found) == terms_of(events)
    assert handoffs_in(found) == handoffs_in(events)
    assert custodian_at(found, instant) == custodian_at(events, instant)
    assert handoffs_in(by_then(found, instant)) == handoffs_in(by_then(events, instant))


@given(st.data())
def test_from_the_opening_on_there_is_one_custodian_at_every_instant_and_never_an_earlier_one_later(
    data: st.DataObject,
) -> None:
    events = any_journey(data).events
    terms = terms_of(events)
    instants = sorted({envelope.time for envelope, _ in events} | {term.begins - MOMENT for term in terms})
    places = [_place(events, instant) for instant in instants]
    assert places == sorted(places)
    assert [place for instant, place in zip(instants, places, strict=True) if instant >= terms[0].begins and place < 0] == []
    assert [term.ends for term in terms[:-1]] == [term.begins for term in terms[1:]]


def _place(events: list[Recorded], instant: object) -> int:
    """How far along the chain the custodian of this instant stands; -1 before the opening."""
    held = [term for term in terms_of(events) if term.begins <= instant]  # type: ignore[operator]
    assert custodian_at(events, instant) == (held[-1].custodian if held else None)  # type: ignore[arg-type]
    return len(held) - 1


@given(st.data())
def test_every_handoff_of_a_finished_journey_was_settled_and_the_chain_is_its_acceptances(data: st.DataObject) -> None:
    events = any_journey(data).events
    found = handoffs_in(events)
    assert {view.state for view in found} <= {"accepted", "escalated"}
    accepted = [view.handoff_id for view in found if view.state == "accepted"]
    assert accepted == [term.handoff_id for term in terms_of(events)[1:]]


def test_the_custodian_at_an_instant_is_who_held_the_episode_then() -> None:
    events = whole_journey().events
    first, second = (view.accepted_at for view in handoffs_in(events))
    assert first
    assert second
    asked = (START, START + timedelta(seconds=1), first - MOMENT, first, second - MOMENT, second, second + DAY)
    assert [custodian_at(events, instant) for instant in asked] == [
        None, "intake", "intake", "matching", "matching", "followup", "followup",
    ]  # fmt: skip


def test_a_clock_that_is_hours_behind_makes_neither_two_custodians_nor_none() -> None:
    journey = Journey(skew={"matching": -5 * HOUR})
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.accept()
    second = journey.matching()
    second.offer("followup", "followup")
    second.accept()
    opened, to_matching, to_followup = terms_of(journey.events)
    assert to_followup.said_at < opened.begins
    assert (to_followup.begins, to_matching.ends) == (to_matching.begins, to_matching.begins)
    assert custodian_at(journey.events, to_matching.begins - MOMENT) == "intake"
    assert custodian_at(journey.events, to_matching.begins) == "followup"


def test_a_clock_that_is_hours_ahead_leaves_the_giver_accountable_until_then() -> None:
    journey = Journey(skew={"matching": 5 * HOUR})
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.accept()
    second = journey.matching()
    second.offer("followup", "followup")
    second.accept()
    assert custodian_at(journey.events, journey.now + HOUR) == "matching"
    assert custodian_at(journey.events, journey.now + 6 * HOUR) == "followup"


def test_an_escalation_is_a_chain_of_attempts_each_with_its_times() -> None:
    journey = Journey()
    arbiter = journey.intake()
    first = arbiter.offer("crisis-desk", "crisis")
    second = arbiter.overdue()
    arbiter.decline_and_escalate()
    arbiter.accept()
    assert views(journey.events) == [
        ("intake", "crisis-desk", "escalated"), ("intake", "duty-manager", "escalated"), ("intake", "crisis-desk", "accepted"),
    ]  # fmt: skip
    silent, declined, taken = handoffs_in(journey.events)
    assert (silent.overdue_at is not None, silent.declined_at, silent.answered_by) == (True, None, None)
    assert (silent.late(journey.now), silent.took, silent.escalated_to) == (True, None, "duty-manager")
    assert (declined.overdue_at, declined.reason, declined.late(journey.now)) == (None, "unspecified", False)
    assert [view.attempt for view in (silent, declined, taken)] == [1, 2, 3]
    assert [view.previous for view in (silent, declined, taken)] == [None, first.id, second.id]
    assert taken.took == timedelta(seconds=1)


def test_a_handoff_that_stands_is_late_from_its_deadline_on() -> None:
    journey = Journey()
    asked = journey.intake().offer("matching")
    view = the(journey.events, asked.id)
    assert (view.state, view.stands, view.answered_at, view.answered_by) == ("offered", True, None, None)
    assert (view.late(asked.deadline), view.late(asked.deadline + MOMENT)) == (False, True)


def test_an_answer_that_is_not_confirmed_is_shown_and_the_handoff_still_stands() -> None:
    journey = Journey()
    asked = journey.intake().offer("matching")
    answer = {"handoff_id": asked.id, "arbiter": "intake", "answer": "accepted", "by": "matching"}
    journey.say("matching", matching.HandoffAnswered.model_validate(answer))
    view = the(journey.events, asked.id)
    assert (view.stands, view.answered_by, view.answered_at) == (True, "matching", journey.now)


def test_an_answer_that_came_too_late_is_superseded_and_its_handoff_keeps_its_state() -> None:
    journey = Journey()
    arbiter = journey.intake()
    first = arbiter.offer("matching")
    arbiter.overdue()
    arbiter.answer("accepted", to=first)
    view = the(journey.events, first.id)
    assert (view.state, view.superseded_at) == ("escalated", journey.now)


def test_what_a_late_receiver_handed_on_is_superseded_and_was_never_counted() -> None:
    journey = Journey()
    intake_desk, late = journey.intake(), journey.matching()
    first = intake_desk.offer("matching")
    intake_desk.overdue()
    onward = late.offer("followup", "followup")
    late.accept()
    intake_desk.answer("accepted", to=first)
    before = journey.now
    journey.say("matching", matching.HandoffSuperseded(handoff_id=onward.id, answered_by="followup"))
    view = the(journey.events, onward.id)
    assert (view.state, view.accepted_at is not None, view.superseded_at) == ("superseded", True, journey.now)
    assert custodian_at(journey.events, journey.now) == custodian_at(journey.events, before) == "intake"


def test_what_its_giver_took_back_unanswered_no_longer_stands() -> None:
    journey = Journey()
    onward = journey.matching().offer("followup", "followup")
    journey.say("matching", matching.HandoffSuperseded(handoff_id=onward.id, answered_by="followup"))
    view = the(journey.events, onward.id)
    assert (view.state, view.stands, view.late(onward.deadline + DAY)) == ("superseded", False, False)


def test_what_its_giver_offered_anew_no_longer_stands() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.offer("crisis-desk", "crisis")
    assert views(journey.events) == [("intake", "matching", "superseded"), ("intake", "crisis-desk", "offered")]
    assert handoffs_in(journey.events)[0].superseded_at == journey.now


def test_a_decline_that_left_the_client_waiting_is_declined() -> None:
    journey = Journey()
    arbiter = journey.matching()
    arbiter.offer("followup", "followup")
    arbiter.answer("declined")
    assert views(journey.events) == [("matching", "followup", "declined")]


def test_as_it_was_a_handoff_had_only_been_offered_and_as_it_is_known_it_was_accepted() -> None:
    events = whole_journey().events
    first = handoffs_in(events)[0]
    assert first.accepted_at
    then = handoffs_in(by_then(events, first.accepted_at - MOMENT))
    assert [(view.state, view.accepted_at) for view in then] == [("offered", None)]
    assert handoffs_in(by_then(events, first.accepted_at))[0] == first


def test_as_it_was_known_before_the_first_acceptance_was_read_the_chain_goes_on_from_the_later_one() -> None:
    events = whole_journey().events
    known = [one for one in events if not (isinstance(one[1], handoff.HandoffAccepted) and one[1].receiver == "matching")]
    assert custodian_at(known, events[-1][0].time) == "followup"
    assert the(known, handoffs_in(events)[0].handoff_id).stands


def test_no_events_have_no_custodian_and_no_handoffs() -> None:
    assert (terms_of([]), custodian_at([], START), handoffs_in([])) == ((), None, ())
