"""Custody read from events: every legal journey is clean in every order, and each kind of doctoring is named."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.journeys import DAY, EPISODE, NEED, Journey, any_journey, whole_journey

from contracts import handoff, intake, matching
from contracts.custody import Recorded, custody_of
from contracts.custody_check import check
from contracts.event import Event
from messaging.handoff import Custody


def is_acceptance_of(receiver: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, handoff.HandoffAccepted) and event.receiver == receiver


def custodians(events: Sequence[Recorded]) -> list[str]:
    return [tenure.custodian for tenure in custody_of(events).tenures]


def test_a_whole_journey_has_one_custodian_after_the_other() -> None:
    journey = whole_journey()
    assert custodians(journey.events) == ["intake", "matching", "followup"]
    assert journey.findings() == []


def test_an_escalated_handoff_makes_a_desk_the_giver_of_the_next_one() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    arbiter.accept()
    arbiter.offer("matching")
    arbiter.accept()
    assert custodians(journey.events) == ["intake", "duty-manager", "matching"]
    assert journey.findings() == []


def test_a_late_answer_that_was_superseded_moves_nobody() -> None:
    journey = Journey()
    arbiter = journey.intake()
    first = arbiter.offer("matching")
    arbiter.overdue()
    arbiter.answer("accepted", to=first)
    assert custodians(journey.events) == ["intake"]
    assert journey.findings() == []


@pytest.mark.parametrize("answered", [True, False])
def test_what_a_late_receiver_handed_on_and_took_back_moves_nobody(answered: bool) -> None:
    journey = Journey()
    intake_desk, late = journey.intake(), journey.matching()
    first = intake_desk.offer("matching")
    intake_desk.overdue()
    onward = late.offer("followup", "followup")
    if answered:
        late.accept()
    intake_desk.answer("accepted", to=first)
    journey.say("matching", matching.HandoffSuperseded(handoff_id=onward.id, answered_by="followup"))
    intake_desk.accept()
    intake_desk.offer("matching")
    intake_desk.accept()
    again = journey.matching()
    again.offer("followup", "followup")
    again.accept()
    assert custodians(journey.events) == ["intake", "duty-manager", "matching", "followup"]
    assert journey.findings(after=DAY) == []


def test_what_a_late_receiver_handed_on_twice_moves_nobody() -> None:
    journey = Journey()
    intake_desk, late = journey.intake(), journey.matching()
    first = intake_desk.offer("matching")
    late.custody = Custody("matching", closed=(first.id,))
    intake_desk.overdue()
    late.offer("followup", "followup")
    late.overdue()
    late.accept()
    onward = late.offer("followup", "followup")
    late.accept()
    intake_desk.answer("accepted", to=first)
    journey.say("matching", matching.HandoffSuperseded(handoff_id=onward.id, answered_by="followup"))
    intake_desk.accept()
    intake_desk.offer("matching")
    intake_desk.accept()
    again = journey.matching()
    again.offer("followup", "followup")
    again.accept()
    assert custodians(journey.events) == ["intake", "duty-manager", "matching", "followup"]
    assert journey.findings(after=DAY) == []


def test_a_desk_that_is_asked_again_while_it_has_the_episode_and_answers_late_still_hands_it_on() -> None:
    journey = Journey()
    intake_desk, arbiter = journey.intake(), journey.matching()
    intake_desk.offer("matching")
    intake_desk.accept()
    arbiter.offer("followup", "followup")
    arbiter.overdue()
    arbiter.accept()
    arbiter.offer("followup", "followup")
    late = arbiter.overdue()
    arbiter.overdue()
    arbiter.answer("accepted", to=late)
    arbiter.accept()
    arbiter.offer("followup", "followup")
    arbiter.accept()
    assert custodians(journey.events) == ["intake", "matching", "care-lead", "care-lead", "followup"]
    assert journey.findings(after=DAY) == []


def test_a_decline_that_was_escalated_leaves_nothing_lying() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("crisis-desk", "crisis")
    arbiter.decline_and_escalate()
    arbiter.accept()
    assert custodians(journey.events) == ["intake", "duty-manager"]
    assert journey.findings() == []


@given(st.data())
def test_every_order_of_any_legal_journey_reads_the_same(data: st.DataObject) -> None:
    journey = any_journey(data)
    shuffled = list(journey.events)
    random.Random(data.draw(st.integers())).shuffle(shuffled)
    repeated = shuffled + shuffled[: len(shuffled) // 2]
    assert custody_of(repeated) == custody_of(journey.events)
    assert check({EPISODE: repeated}, journey.now) == journey.findings() == []


@given(st.data())
def test_every_removed_acceptance_is_found_whatever_the_journey(data: st.DataObject) -> None:
    journey = any_journey(data)
    accepted = [event for _, event in journey.events if isinstance(event, handoff.HandoffAccepted)]
    gone = data.draw(st.sampled_from(accepted))
    assert journey.codes(lambda event: event is gone, after=DAY) != []


@given(st.data())
def test_every_acceptance_said_twice_is_found_whatever_the_journey(data: st.DataObject) -> None:
    journey = any_journey(data)
    twice = data.draw(st.sampled_from([r for r in journey.events if isinstance(r[1], handoff.HandoffAccepted)]))
    journey.events.append((twice[0].model_copy(update={"id": "another", "sequence": 99}), twice[1]))
    assert journey.codes() == ["two"]


def test_an_acceptance_removed_in_the_middle_leaves_a_giver_who_never_held_the_episode() -> None:
    findings = whole_journey().findings(is_acceptance_of("matching"))
    assert {(finding.code, finding.episode) for finding in findings} == {("not-custodian", EPISODE), ("unconfirmed", EPISODE)}


def test_the_last_acceptance_removed_leaves_an_answer_unconfirmed() -> None:
    assert whole_journey().codes(is_acceptance_of("followup")) == ["unconfirmed"]


def test_an_answer_that_is_a_moment_old_is_pending_while_grace_lasts() -> None:
    journey = whole_journey()
    gone = is_acceptance_of("followup")
    minute = timedelta(minutes=1)
    assert [finding.pending for finding in journey.findings(gone, grace=minute)] == [True]
    assert journey.codes(gone, grace=minute, after=2 * minute) == ["unconfirmed"]


def test_two_acceptances_from_one_giver_are_two_custodians_and_never_pending() -> None:
    journey = Journey()
    arbiter = journey.intake()
    before = arbiter.custody
    arbiter.offer("matching")
    arbiter.accept()
    arbiter.custody = before
    arbiter.offer("crisis-desk", "crisis")
    arbiter.accept()
    assert journey.codes(grace=DAY) == ["two"]


def test_an_episode_opened_twice_has_two_custodians() -> None:
    journey = whole_journey()
    journey.intake()
    assert journey.codes() == ["two"]


def test_an_episode_that_was_never_opened_has_no_custodian() -> None:
    assert "none" in whole_journey().codes(lambda event: isinstance(event, intake.EpisodeOpened))


def test_an_acceptance_of_what_was_never_offered_is_named() -> None:
    assert whole_journey().codes(lambda event: isinstance(event, intake.HandoffOffered)) == ["never-offered"]


def test_an_acceptance_by_somebody_else_than_was_asked_is_named() -> None:
    journey = Journey()
    asked = journey.intake().offer("crisis-desk", "crisis")
    journey.say("intake", intake.HandoffAccepted(handoff_id=asked.id, giver="intake", receiver="followup", attempt=1))
    assert journey.codes() == ["never-offered"]


def test_an_acceptance_confirmed_after_its_handoff_was_overdue_is_named() -> None:
    journey = Journey()
    arbiter = journey.intake()
    asked = arbiter.offer("crisis-desk", "crisis")
    arbiter.overdue()
    journey.say("intake", intake.HandoffAccepted(handoff_id=asked.id, giver="intake", receiver="crisis-desk", attempt=1))
    assert journey.codes() == ["accepted-after-close"]


def never_escalated() -> Journey:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    arbiter.accept()
    return journey


@pytest.mark.parametrize("kinds", [
    (handoff.HandoffOverdue, handoff.HandoffEscalated),
    (handoff.HandoffOverdue,),
])  # fmt: skip
def test_a_handoff_that_passed_its_deadline_in_silence_is_named(kinds: tuple[type[Event], ...]) -> None:
    silenced = never_escalated().codes(lambda event: isinstance(event, kinds), after=timedelta(minutes=1))
    assert silenced == ["never-escalated"]


def test_a_handoff_that_was_never_escalated_at_all_is_named() -> None:
    journey = Journey()
    journey.intake().offer("matching")
    assert journey.codes() == []
    assert journey.codes(after=timedelta(hours=2)) == ["never-escalated"]
    assert journey.codes(after=timedelta(hours=2), grace=DAY) == []


def test_an_overdue_handoff_without_escalation_is_named() -> None:
    journey = never_escalated()
    assert journey.codes(lambda event: isinstance(event, handoff.HandoffEscalated)) == ["overdue-not-escalated"]


def test_an_escalation_whose_next_attempt_was_never_offered_is_named() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    assert journey.codes(is_second_attempt) == ["escalated-to-nobody"]


def is_second_attempt(event: Event) -> bool:
    return isinstance(event, handoff.HandoffOffered) and event.attempt == 2


def test_a_decline_after_which_nobody_was_asked_is_named_unless_the_client_waits() -> None:
    journey = Journey()
    arbiter = journey.matching()
    journey.say("intake", intake.EpisodeOpened(need=NEED, consent_basis="treatment", custodian="matching"))
    arbiter.offer("followup", "followup")
    arbiter.answer("declined")
    assert journey.codes() == ["declined-and-left"]
    journey.say("matching", matching.WaitingStarted(reason="no-place"))
    assert journey.codes() == []
