"""How intake arbitrates the handoffs it gives, and how it shows an identity."""

from datetime import timedelta
from typing import Any

import pytest

from contracts import clinical, matching
from intake import handlers
from intake.commands import DiscloseIdentity
from messaging.decision import Decision, DueTimer, Early, Refused
from messaging.giver import ANSWER_DUE

on_handoff_answered: Any = handlers.on_handoff_answered
on_handoff_overdue: Any = handlers.on_handoff_overdue
on_identity_requested: Any = handlers.on_identity_requested


def said(outcome: Any) -> list[str]:
    return [type(event).__name__ for event in outcome.publish]


def answer(kind: Any, by: str, state: Any, word: str = "accepted", **more: Any) -> Any:
    return kind(handoff_id=state.custody.standing.id, arbiter="intake", answer=word, by=by, **more)


def overdue(state: Any, facts: Any) -> Any:
    due = state.custody.standing.deadline
    return on_handoff_overdue(DueTimer(ANSWER_DUE, due), state, facts("s", now=due + timedelta(minutes=1)))


def test_matching_becomes_custodian_when_intake_confirms_its_acceptance(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral())
    decision = on_handoff_answered(answer(matching.HandoffAnswered, "matching", state), state, facts("s"))
    assert said(decision) == ["HandoffAccepted"]
    assert (decision.state.custody.custodian, decision.cancel, decision.timers) == ("matching", [ANSWER_DUE], ())


def test_people_who_accepted_hand_on_to_matching_in_the_same_decision(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral(urgency="emergency"))
    decision = on_handoff_answered(answer(clinical.HandoffAnswered, "crisis-desk", state), state, facts("s"))
    assert said(decision) == ["HandoffAccepted", "HandoffOffered"]
    assert decision.state.custody.custodian == "crisis-desk"
    offer = decision.publish[-1]
    assert (offer.giver, offer.receiver, offer.kind, offer.previous) == (
        "crisis-desk", "matching", "matching", state.custody.standing.id,
    )  # fmt: skip
    assert (decision.cancel, [timer.due for timer in decision.timers]) == ([], [offer.deadline])


def test_a_decline_goes_to_a_named_desk_at_once(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral())
    no = answer(matching.HandoffAnswered, "matching", state, "declined", reason="no-service")
    decision = on_handoff_answered(no, state, facts("s"))
    assert said(decision) == ["HandoffDeclined", "HandoffEscalated", "HandoffOffered"]
    assert decision.state.custody.standing.receiver == "duty-manager"
    assert decision.state.custody.custodian == "intake"


def test_an_unanswered_handoff_is_escalated_and_its_late_answer_superseded(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral())
    decision = overdue(state, facts)
    assert said(decision) == ["HandoffOverdue", "HandoffEscalated", "HandoffOffered"]
    late = on_handoff_answered(answer(matching.HandoffAnswered, "matching", state), decision.state, facts("s"))
    assert (isinstance(late, Refused), said(late)) == (True, ["HandoffSuperseded"])
    assert late.publish[0].current == decision.state.custody.standing.id


def test_a_desk_that_took_over_is_never_escalated_to_itself(referral: Any, facts: Any, opened: Any) -> None:
    escalated = overdue(opened(referral()), facts).state
    taken = on_handoff_answered(answer(clinical.HandoffAnswered, "duty-manager", escalated), escalated, facts("s")).state
    assert (taken.custody.custodian, taken.custody.standing.receiver) == ("duty-manager", "matching")
    assert overdue(taken, facts).state.custody.standing.receiver == "clinical-director"


def test_an_escalated_crisis_keeps_the_crisis_clock(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral(urgency="emergency"))
    after = overdue(state, facts).state.custody.standing
    assert after.deadline - state.custody.standing.deadline == timedelta(minutes=6)


def test_a_timer_of_an_earlier_offer_does_nothing(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral())
    stale = DueTimer(ANSWER_DUE, state.custody.standing.deadline - timedelta(hours=1))
    assert on_handoff_overdue(stale, state, facts("s")) == Decision()


def test_the_same_acceptance_twice_says_nothing_twice(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral())
    accepted = answer(matching.HandoffAnswered, "matching", state)
    once = on_handoff_answered(accepted, state, facts("s"))
    assert said(on_handoff_answered(accepted, once.state, facts("s"))) == []


def test_nobody_outside_answers_for_matching(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral())
    spoken_for = on_handoff_answered(answer(clinical.HandoffAnswered, "matching", state), state, facts("s"))
    assert isinstance(spoken_for, Refused)
    assert spoken_for.publish == ()


def test_an_answer_to_another_arbiter_is_not_ours(facts: Any) -> None:
    other = matching.HandoffAnswered(handoff_id="h", arbiter="matching", answer="accepted", by="followup")
    assert on_handoff_answered(other, None, facts("s")) == Decision()


def test_an_answer_about_an_unknown_episode_waits(facts: Any) -> None:
    early = matching.HandoffAnswered(handoff_id="h", arbiter="intake", answer="accepted", by="matching")
    assert on_handoff_answered(early, None, facts("s")) == Early()


def test_identity_is_shown_for_a_consented_purpose_and_the_disclosure_is_said(referral: Any, facts: Any, opened: Any) -> None:
    ask = DiscloseIdentity(recipient="therapist:t-17", purpose="treatment")
    decision = on_identity_requested(ask, opened(referral()), facts("s", actor="our-door"))
    assert said(decision) == ["DisclosureMade"]
    assert (decision.publish[0].recipient, decision.publish[0].consent_basis) == ("therapist:t-17", "treatment")


@pytest.mark.parametrize(("recipient", "purpose"), [("marketing", "treatment"), ("therapist", "payment")])
def test_identity_is_not_shown_beyond_consent(referral: Any, facts: Any, opened: Any, recipient: str, purpose: str) -> None:
    ask = DiscloseIdentity(recipient=recipient, purpose=purpose)
    assert on_identity_requested(ask, opened(referral()), facts("s", actor="our-door")) == Refused("not-consented")


def test_identity_is_not_shown_after_the_basis_expired(referral: Any, facts: Any, opened: Any) -> None:
    state = opened(referral(consent={"kind": "treatment", "expires": "2026-11-23"}))
    ask = DiscloseIdentity(recipient="matching", purpose="treatment")
    tomorrow = facts("s", now=facts("s").now + timedelta(days=1), actor="our-door")
    assert on_identity_requested(ask, state, tomorrow) == Refused("not-consented")


def test_identity_is_asked_for_at_our_doors_only(referral: Any, facts: Any, opened: Any) -> None:
    ask = DiscloseIdentity(recipient="matching", purpose="treatment")
    assert on_identity_requested(ask, opened(referral()), facts("s", actor="door:guess")) == Refused("foreign-source")
