"""What becomes of a referral: taken, repeated, amended, refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.referral import ReferralWithdrawn
from intake import handlers
from intake.domain.identity import KeepIdentity
from intake.handlers import episode_of, episode_of_invalid
from messaging.decision import Decision, Invalid, Refused

on_referral_submitted: Any = handlers.on_referral_submitted
on_referral_withdrawn: Any = handlers.on_referral_withdrawn


def said(outcome: Any) -> list[str]:
    return [type(event).__name__ for event in outcome.publish]


def test_a_consented_referral_opens_an_episode_and_offers_it_to_matching(referral: Any, facts: Any) -> None:
    asked = referral()
    decision = on_referral_submitted(asked, None, facts(episode_of(asked)))
    assert said(decision) == ["EpisodeOpened", "ReferralAccepted", "HandoffOffered"]
    offer = decision.publish[-1]
    assert (offer.giver, offer.receiver, offer.kind, offer.attempt) == ("intake", "matching", "matching", 1)
    assert offer.deadline - facts("s").now == timedelta(days=1)
    assert offer.need.age_band == "adult"
    assert decision.state.custody.custodian == "intake"
    assert [timer.due for timer in decision.timers] == [offer.deadline]


def test_identity_goes_to_the_identity_store_and_into_nothing_else_that_is_decided(referral: Any, facts: Any) -> None:
    asked = referral(note="canary note")
    decision = on_referral_submitted(asked, None, facts(episode_of(asked)))
    assert decision.effects == [
        KeepIdentity(episode_of(asked), "MRN-1", "Doe", "Jo", asked.client.birth_date, note="canary note")
    ]
    outside = repr((decision.publish, decision.timers, decision.reply, decision.state.need, decision.state.custody))
    assert not [word for word in ("Doe", "MRN-1", "1990", "canary") if word in outside]


def test_an_emergency_goes_to_people_first_and_they_have_five_minutes(referral: Any, facts: Any) -> None:
    asked = referral(urgency="emergency")
    offer = on_referral_submitted(asked, None, facts(episode_of(asked))).publish[-1]
    assert (offer.receiver, offer.kind, offer.deadline - facts("s").now) == ("crisis-desk", "crisis", timedelta(minutes=5))


def test_an_emergency_goes_straight_to_matching_when_the_client_leaves_the_crisis_desk_out(referral: Any, facts: Any) -> None:
    asked = referral(urgency="emergency", consent={"kind": "written-consent", "recipients": ["matching", "followup"]})
    assert on_referral_submitted(asked, None, facts(episode_of(asked))).publish[-1].receiver == "matching"


def test_the_same_referral_through_another_door_is_still_one_episode(referral: Any, facts: Any, opened: Any) -> None:
    asked = referral()
    decision = on_referral_submitted(asked, opened(asked), facts(episode_of(asked), id="e-2", source="/portal"))
    assert said(decision) == ["ReferralAccepted"]
    assert decision.publish[0].repeated
    assert (decision.state, decision.effects) == (None, ())


def test_other_content_under_the_same_identifier_is_an_amendment_and_changes_nothing(
    referral: Any, facts: Any, opened: Any
) -> None:
    decision = on_referral_submitted(referral(note="more"), opened(referral()), facts(episode_of(referral()), id="e-2"))
    assert (type(decision), decision.publish[0].reason) == (Refused, "amended")


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"consent": None}, "no-consent-basis", "/consent"),
        ({"consent": {"kind": "treatment", "expires": "2026-11-22"}}, "no-consent-basis", "/consent/expires"),
        ({"consent": {"kind": "treatment", "recipients": ["therapist"]}}, "no-consent-basis", "/consent/recipients"),
        ({"respond_by": "2026-11-23T08:59:59Z"}, "deadline-in-the-past", "/respond_by"),
    ],
)
def test_a_referral_that_cannot_stand_is_refused_with_a_path_and_keeps_nothing(
    referral: Any, facts: Any, changes: Any, reason: str, path: str
) -> None:
    asked = referral(**changes)
    refused = on_referral_submitted(asked, None, facts(episode_of(asked)))
    assert type(refused) is Refused
    said_why: Any = refused.publish[0]
    assert (refused.reason, said_why.reason, said_why.identifier) == (reason, reason, "R-1")
    assert [problem.path for problem in said_why.problems] == [path]


def test_a_basis_holds_through_its_last_day(referral: Any, facts: Any) -> None:
    asked = referral(consent={"kind": "treatment", "expires": "2026-11-23"})
    assert isinstance(on_referral_submitted(asked, None, facts(episode_of(asked))), Decision)


@pytest.mark.parametrize(
    ("attributes", "reason", "path"),
    [
        ({"source": "/rapport/matching"}, "foreign-source", "ce_source"),
        ({"source": "kafka:referrals.inbound.v1"}, "foreign-source", "ce_source"),
        ({"source": "spoofed:/clinic"}, "foreign-source", "ce_source"),
        ({"source": "/rapport/intake/http", "actor": "somebody"}, "foreign-source", "ce_source"),
        ({"subject": None}, "invalid", "ce_subject"),
        ({"subject": "R-2"}, "invalid", "ce_subject"),
    ],
)
def test_a_sender_that_is_not_what_it_says_is_refused(
    referral: Any, facts: Any, attributes: Any, reason: str, path: str
) -> None:
    refused = on_referral_submitted(referral(), None, facts(episode_of(referral()), **attributes))
    assert (refused.publish[0].reason, refused.publish[0].problems[0].path) == (reason, path)


def test_our_own_doors_may_use_our_own_source(referral: Any, facts: Any) -> None:
    door = facts(episode_of(referral()), source="/rapport/intake/http", actor="our-door")
    assert isinstance(on_referral_submitted(referral(), None, door), Decision)


def test_a_broken_referral_is_answered_when_it_says_whom_to_answer(facts: Any) -> None:
    broken = Invalid({"assigner": "st-mary", "identifier": "R-1"}, ())
    refused = on_referral_submitted(broken, None, facts(episode_of_invalid(broken)))
    assert (refused.reason, refused.publish[0].identifier) == ("invalid", "R-1")


@pytest.mark.parametrize(
    "raw", [{}, {"assigner": "a"}, {"assigner": "a", "identifier": 7}, {"assigner": "", "identifier": "x"}]
)
def test_a_broken_referral_that_names_nobody_has_no_subject(raw: Any) -> None:
    assert episode_of_invalid(Invalid(raw, ())) is None


def test_a_withdrawal_is_kept_and_moves_nothing(referral: Any, facts: Any, opened: Any) -> None:
    before = opened(referral())
    withdrawn = ReferralWithdrawn(assigner="st-mary", identifier="R-1", reason="moved-away")
    decision = on_referral_withdrawn(withdrawn, before, facts(episode_of(withdrawn), id="e-2"))
    assert decision.state.withdrawn == "moved-away"
    assert decision.state.custody == before.custody
    assert decision.publish == ()


def test_a_withdrawal_of_what_was_not_taken_is_answered_and_does_not_wait_in_the_way_of_the_next_referral(facts: Any) -> None:
    withdrawn = ReferralWithdrawn(assigner="st-mary", identifier="R-1")
    refused = on_referral_withdrawn(withdrawn, None, facts(episode_of(withdrawn)))
    assert type(refused) is Refused
    (answer,) = (event.model_dump() for event in refused.publish)
    assert (answer["reason"], answer["problems"][0]["path"]) == ("withdrawn", "/identifier")


def test_a_deadline_that_passed_while_the_referral_waited_for_us_turns_nobody_away(referral: Any, facts: Any) -> None:
    asked = referral("emergency", respond_by="2026-11-23T09:30:00Z")
    late = facts(episode_of(asked), now=datetime(2026, 11, 23, 9, 40, tzinfo=UTC), time=datetime(2026, 11, 23, 9, tzinfo=UTC))
    assert isinstance(on_referral_submitted(asked, None, late), Decision)
