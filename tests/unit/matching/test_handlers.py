"""What matching decides, told as journeys of one client."""

from datetime import timedelta
from typing import Any

import pytest

from contracts import clinical, followup, intake
from contracts.therapist import TherapistListed
from matching import handlers
from matching.domain.places import FreePlace, TakePlace
from messaging.decision import Decision, DueTimer, Early, Refused, Timer
from messaging.giver import ANSWER_DUE


def answered(
    journey: Any, kind: Any = followup.HandoffAnswered, by: Any = "followup", answer: Any = "accepted", handoff_id: Any = None
) -> Any:
    standing = journey.match.custody.standing
    event = kind(handoff_id=handoff_id or standing.id, arbiter="matching", answer=answer, by=by)
    return journey.tell(handlers.on_handoff_answered, event)


def overdue(journey: Any) -> Any:
    due = journey.match.custody.standing.deadline
    return journey.tell(handlers.on_handoff_overdue, DueTimer(ANSWER_DUE, due))


def superseded(journey: Any, handoff_id: Any = "h-1", by: Any = "matching") -> Any:
    event = intake.HandoffSuperseded(handoff_id=handoff_id, answered_by=by, current=None)
    return journey.tell(handlers.on_handoff_superseded, event)


def test_a_handoff_is_accepted_and_a_shortlist_proposed_at_once(journey: Any, listing: Any) -> None:
    began = journey(t=listing()).begin()
    assert began.stage == "shortlisted"
    assert began.names() == ["HandoffAnswered", "ShortlistProposed"]


@pytest.mark.parametrize("other", [{"receiver": "crisis-desk"}, {"receiver": "crisis-desk", "kind": "crisis"}])
def test_a_handoff_to_somebody_else_is_none_of_ours(other: Any, journey: Any, listing: Any) -> None:
    assert journey(t=listing()).begin(**other).last == Decision()


def test_when_nobody_qualifies_the_client_waits(journey: Any, listing: Any) -> None:
    began = journey(t=listing(languages=("es",))).begin()
    assert (began.stage, began.said[-1].reason) == ("waiting", "no-candidate")
    assert began.last.timers == [Timer("waiting-retry", began.now + timedelta(minutes=10))]


def test_when_nobody_who_qualifies_has_a_place_the_client_waits(journey: Any, listing: Any, full: Any) -> None:
    began = journey(t=listing())
    began.directory = full(began.directory, "t")
    assert (began.begin().stage, began.said[-1].reason) == ("waiting", "no-place")


def test_the_choice_offers_the_match_and_holds_a_place(journey: Any, listing: Any) -> None:
    chosen = journey(t=listing(), u=listing()).begin().choose("u")
    assert chosen.last.effects == [TakePlace("u", 1, 1, "e-1", 2)]
    offered = chosen.last.publish[0]
    assert (offered.therapist_id, offered.seat, offered.counter, offered.capacity) == ("u", 1, 1, 2)
    assert chosen.last.timers == [Timer("offer-expires", offered.deadline, patience=None)]
    assert chosen.last.reply == {"episode": "e-1", "stage": "offered", "offer_id": offered.offer_id, "therapist_id": "u"}


def test_any_takes_the_first_of_the_shortlist(journey: Any, listing: Any) -> None:
    chosen = journey(t=listing(), u=listing()).begin().choose("any")
    assert chosen.offer.therapist_id == chosen.match.shortlist[0].therapist_id


@pytest.mark.parametrize(
    ("language", "before", "reason"),
    [("en", [], "not-on-shortlist"), ("en", ["t"], "already-chosen"), ("fi", [], "no-shortlist")],
    ids=["stranger", "second choice", "while waiting"],
)
def test_a_wrong_choice_is_refused_with_its_reason(
    language: Any, before: Any, reason: Any, journey: Any, listing: Any, asked: Any
) -> None:
    chosen = journey(t=listing()).begin(need=asked(language=language))
    for therapist_id in before:
        chosen.choose(therapist_id)
    outcome: Any = chosen.choose("stranger").last
    assert (type(outcome), outcome.reason, [event.reason for event in outcome.publish]) == (Refused, reason, [reason])


def test_a_choice_for_an_unknown_episode_is_early(journey: Any, listing: Any) -> None:
    assert journey(t=listing()).choose("t").last == Early()


def test_acceptance_hands_the_client_on_to_followup_with_the_therapist(journey: Any, listing: Any) -> None:
    accepted = journey(t=listing()).begin().choose("t").answer("accepted")
    handed = accepted.last.publish[-1]
    assert accepted.names()[-2:] == ["MatchAccepted", "HandoffOffered"]
    assert (handed.giver, handed.receiver, handed.kind, handed.therapist_id) == ("matching", "followup", "followup", "t")
    assert (handed.previous, handed.consent_basis, handed.need.problem_area) == ("h-1", "treatment", "anxiety")
    assert "offer-expires" in accepted.last.cancel
    assert [timer.name for timer in accepted.last.timers] == [ANSWER_DUE]


def test_a_decline_frees_the_place_and_asks_the_next_of_the_shortlist(journey: Any, listing: Any) -> None:
    declined = journey(t=listing(), u=listing()).begin().choose("t")
    declined.names()
    declined.answer("declined")
    assert declined.names() == ["MatchDeclined", "PlaceFreed", "MatchOffered"]
    assert declined.last.effects == [FreePlace("t", 1, 2, "e-1"), TakePlace("u", 1, 1, "e-1", 2)]
    assert declined.last.hasten == ["waiting-retry"]
    assert declined.offer.therapist_id == "u"


def test_a_used_up_shortlist_is_followed_by_a_new_one_without_those_who_passed(journey: Any, listing: Any) -> None:
    many = journey(**{f"t-{n}": listing() for n in range(5)}).begin().choose()
    seen = {candidate.therapist_id for candidate in many.match.shortlist}
    many.answer("declined").let_expire().answer("declined")
    assert many.stage == "shortlisted"
    assert {c.therapist_id for c in many.match.shortlist} == {f"t-{n}" for n in range(5)} - seen


def test_nobody_left_means_waiting_and_who_was_silent_is_asked_again_after_it(journey: Any, listing: Any) -> None:
    left = journey(t=listing(), u=listing()).begin().choose("t").answer("declined").let_expire()
    assert left.stage == "waiting"
    left.names()
    left.tell(handlers.on_waiting_retry, DueTimer("waiting-retry", left.now))
    assert left.names() == ["WaitingEnded", "ShortlistProposed"]
    assert [c.therapist_id for c in left.match.shortlist] == ["u"]


def test_who_waits_in_vain_waits_on_without_a_word(journey: Any, listing: Any, asked: Any) -> None:
    waiting = journey(t=listing()).begin(need=asked(language="fi"))
    waiting.names()
    again = waiting.tell(handlers.on_waiting_retry, DueTimer("waiting-retry", waiting.now))
    assert (waiting.names(), [timer.name for timer in again.timers], waiting.stage) == ([], ["waiting-retry"], "waiting")


def test_a_place_lost_since_the_shortlist_falls_to_the_next_on_it(journey: Any, listing: Any, full: Any) -> None:
    late = journey(t=listing(), u=listing()).begin()
    late.directory = full(late.directory, "t")
    assert late.choose("t").offer.therapist_id == "u"


def test_an_answer_after_the_deadline_counts_until_the_offer_has_expired(journey: Any, listing: Any) -> None:
    late = journey(t=listing()).begin().choose("t")
    late.now = late.offer.deadline + timedelta(hours=1)
    assert late.answer("accepted").stage == "accepted"


@pytest.mark.parametrize(
    ("happened", "reason"),
    [
        (lambda j: j.let_expire(), "expired"),
        (lambda j: j.answer("declined"), "already-answered"),
        (lambda j: j.answer("accepted"), "already-answered"),
        (lambda j: superseded(j), "stood-down"),
    ],
    ids=["expired", "declined", "accepted", "stood down"],
)
def test_an_answer_to_an_offer_that_no_longer_stands_is_refused(happened: Any, reason: Any, journey: Any, listing: Any) -> None:
    late = journey(t=listing()).begin().choose("t")
    offer_id = late.offer.id
    happened(late)
    refused: Any = late.answer("accepted", offer_id).last
    assert (type(refused), refused.publish[0].reason, refused.publish[0].offer_id) == (Refused, reason, offer_id)


def test_an_offer_that_was_never_made_cannot_be_answered(journey: Any, listing: Any) -> None:
    refused = journey(t=listing()).begin().choose("t").answer("accepted", "nonsense").last
    assert refused.publish[0].reason == "not-offered"


def test_a_timer_of_an_offer_that_was_answered_changes_nothing(journey: Any, listing: Any) -> None:
    accepted = journey(t=listing()).begin().choose("t")
    due = accepted.offer.deadline
    accepted.answer("accepted")
    assert accepted.tell(handlers.on_offer_expired, DueTimer("offer-expires", due)) == Decision()


def test_followup_becomes_custodian_when_matching_confirms(journey: Any, listing: Any) -> None:
    done = journey(t=listing()).begin().choose("t").answer("accepted")
    done.names()
    answered(done)
    assert (done.names(), done.stage) == (["HandoffAccepted"], "handed-over")
    assert done.match.custody.custodian == "followup"
    assert ANSWER_DUE in done.last.cancel


def test_an_answer_to_somebody_elses_handoff_is_none_of_ours(journey: Any, listing: Any) -> None:
    event = clinical.HandoffAnswered(handoff_id="x", arbiter="intake", answer="accepted", by="crisis-desk")
    assert journey(t=listing()).tell(handlers.on_handoff_answered, event) == Decision()


def test_nobody_outside_can_answer_for_followup(journey: Any, listing: Any) -> None:
    accepted = journey(t=listing()).begin().choose("t").answer("accepted")
    outcome = answered(accepted, clinical.HandoffAnswered)
    assert (outcome.reason, accepted.stage) == ("not-a-desk", "accepted")


def test_unanswered_it_goes_to_a_desk_which_hands_on_to_followup_as_custodian(journey: Any, listing: Any) -> None:
    late = journey(t=listing()).begin().choose("t").answer("accepted")
    late.names()
    overdue(late)
    assert late.names() == ["HandoffOverdue", "HandoffEscalated", "HandoffOffered"]
    answered(late, clinical.HandoffAnswered, by="matching-desk")
    assert late.names() == ["HandoffAccepted", "HandoffOffered"]
    offered = late.last.publish[-1]
    assert (offered.giver, offered.receiver, offered.therapist_id) == ("matching-desk", "followup", "t")
    overdue(late)
    assert late.match.custody.standing.receiver == "clinical-director"


def test_followups_late_answer_is_superseded(journey: Any, listing: Any) -> None:
    late = journey(t=listing()).begin().choose("t").answer("accepted")
    first = late.match.custody.standing.id
    overdue(late)
    late.names()
    assert isinstance(answered(late, handoff_id=first), Refused)
    assert late.names() == ["HandoffSuperseded"]


def test_a_declined_handoff_goes_to_a_desk_in_the_same_decision(journey: Any, listing: Any) -> None:
    declined = journey(t=listing()).begin().choose("t").answer("accepted")
    declined.names()
    answered(declined, answer="declined")
    assert declined.names() == ["HandoffDeclined", "HandoffEscalated", "HandoffOffered"]
    assert (declined.match.custody.custodian, declined.match.custody.standing.receiver) == ("matching", "matching-desk")


def test_superseded_matching_stands_down_and_gives_the_place_back(journey: Any, listing: Any) -> None:
    down = journey(t=listing()).begin().choose("t")
    down.names()
    superseded(down)
    assert (down.names(), down.stage) == (["PlaceFreed"], "stood-down")
    assert set(down.last.cancel) == {"offer-expires", "waiting-retry", ANSWER_DUE}
    assert down.directory.seats["t"].taken == 0


def test_superseded_matching_tells_followup_to_stand_down_too(journey: Any, listing: Any) -> None:
    down = journey(t=listing()).begin().choose("t").answer("accepted")
    handed = down.match.custody.standing.id
    answered(down)
    down.names()
    superseded(down)
    assert down.last.publish[-1].handoff_id == handed
    assert down.names() == ["PlaceFreed", "HandoffSuperseded"]


@pytest.mark.parametrize("other", [{"handoff_id": "h-0"}, {"by": "crisis-desk"}])
def test_only_the_handoff_that_matching_began_on_makes_it_stand_down(other: Any, journey: Any, listing: Any) -> None:
    stands = journey(t=listing()).begin()
    assert superseded(stands, **other) == Decision()


def test_a_new_handoff_after_standing_down_begins_anew(journey: Any, listing: Any) -> None:
    again = journey(t=listing()).begin().choose("t")
    superseded(again)
    again.names()
    again.begin(handoff_id="h-2", giver="intake-desk")
    assert again.names() == ["HandoffAnswered", "ShortlistProposed"]
    assert (again.match.handoff_id, again.match.offer) == ("h-2", None)


def test_a_new_handoff_while_a_place_is_held_gives_it_back_first(journey: Any, listing: Any) -> None:
    again = journey(t=listing(capacity=1)).begin().choose("t")
    again.names()
    again.begin(handoff_id="h-2")
    assert again.names() == ["HandoffAnswered", "PlaceFreed", "ShortlistProposed"]
    assert again.last.effects == [FreePlace("t", 1, 2, "e-1")]
    assert again.choose("t").last.effects == [TakePlace("t", 1, 3, "e-1", 1)]


def test_the_same_handoff_again_changes_nothing(journey: Any, listing: Any) -> None:
    assert journey(t=listing()).begin().choose("t").begin().last == Decision()


def listed(facts: Any, directory: Any, before: Any, **changes: Any) -> Any:
    event = {
        "version": 2, "capacity": 2, "problem_areas": ["anxiety"], "age_bands": ["adult"], "languages": ["en"],
        "places": ["WA"], "modalities": ["video", "in-person"], "payers": ["aetna"],
    }  # fmt: skip
    return handlers.on_therapist_listed(TherapistListed.model_validate(event | changes), before, facts(directory(), "t"))


@pytest.mark.parametrize(
    ("changes", "woken"),
    [({"capacity": 5}, 3), ({"capacity": 1}, 0), ({}, 0), ({"languages": ["en", "es"]}, 2), ({"accepting": False}, 0)],
    ids=["more", "fewer", "the same", "another language", "closed"],
)
def test_a_newer_listing_wakes_as_many_as_it_may_open_places_for(
    changes: Any, woken: Any, facts: Any, directory: Any, listing: Any
) -> None:
    decision = listed(facts, directory, listing(), **changes)
    assert decision.state.version == 2
    assert list(decision.hasten) == ["waiting-retry"] * woken


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_or_equal_listing_is_passed_over(version: Any, facts: Any, directory: Any, listing: Any) -> None:
    assert listed(facts, directory, listing(version=2), version=version) == Decision()


def test_offers_of_one_episode_have_ids_of_their_own_and_the_same_again_on_replay(journey: Any, listing: Any) -> None:
    def offers() -> Any:
        several = journey(t=listing(), u=listing()).begin().choose("t")
        first = several.offer.id
        return first, several.answer("declined").offer.id

    assert offers() == offers()
    assert len(set(offers())) == 2
