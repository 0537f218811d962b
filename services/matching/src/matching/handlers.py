"""What matching decides: one pure function per event or timer, facts in, decision out."""

import uuid
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter

from contracts import clinical, handoff, intake, matching
from contracts.event import Event
from contracts.therapist import TherapistListed
from contracts.vocabulary import Need as ToldNeed
from matching.domain.directory import Directory
from matching.domain.listing import Listing, Need
from matching.domain.match import DESK, FOLLOWUP, Candidate, Ending, Match
from matching.domain.places import TakePlace
from messaging.decision import Decision, DueTimer, Early, Facts, Outcome, Refused, Timer
from messaging.giver import ANSWER_DUE, Giver, Step
from messaging.handoff import Custody

OFFER_EXPIRES, WAITING_RETRY = "offer-expires", "waiting-retry"

S = TypeVar("S")
_OFFERS = uuid.uuid5(uuid.NAMESPACE_URL, "rapport:offer")
_NEED, _LISTING, _SHORTLIST = TypeAdapter(Need), TypeAdapter(Listing), TypeAdapter(tuple[Candidate, ...])


def on_handoff_offered(event: intake.HandoffOffered, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When a client is handed to matching, it accepts and begins at once; a handoff after another one begins anew."""
    if event.receiver != DESK or event.kind != "matching" or (match and match.handoff_id == event.handoff_id):
        return Decision()
    answer = matching.HandoffAnswered(handoff_id=event.handoff_id, arbiter=event.arbiter, answer="accepted", by=DESK)
    before: Decision[Match] = _withdrawn(match, facts) if match else Decision()
    closed = before.state.custody.closed if before.state else ()
    need = _NEED.validate_python(event.need.model_dump())
    begun = Match(event.handoff_id, need, event.consent_basis, Custody(DESK, closed=(*closed, event.handoff_id)))
    return _all(Decision(publish=[answer]), before, _proposed(begun, _after(before, facts)))


def on_handoff_superseded(event: intake.HandoffSuperseded, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When matching's acceptance came too late, what it began is given up: offer, place, and what it handed on itself."""
    stands = match is not None and match.handoff_id == event.handoff_id and match.stage != "stood-down"
    if match is None or not stands or event.answered_by != DESK:
        return Decision()
    return _withdrawn(match, facts)


def on_choice_made(event: clinical.ChoiceMade, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When the client has chosen, that therapist is offered the client and holds a place."""
    if match is None:
        return Early()
    if reason := match.why_no_choice(event.therapist_id):
        return Refused(reason, publish=[matching.ChoiceRefused(reason=reason)], reply=_status(match, facts))
    return _offered(match.choosing(event.therapist_id), facts)


def on_offer_answered(event: clinical.OfferAnswered, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When the therapist accepts, the client is handed to followup; when they decline, the next one is asked."""
    if match is None:
        return Early()
    if reason := match.why_no_answer(event.offer_id):
        refused = matching.AnswerRefused(offer_id=event.offer_id, reason=reason)
        return Refused(reason, publish=[refused], reply=_status(match, facts))
    if event.answer == "declined":
        said = matching.MatchDeclined(**_offer(match), reason=event.reason or "unspecified")
        return _fallen_through(match, "declined", said, facts)
    accepted: Decision[Match] = Decision(publish=[matching.MatchAccepted(**_offer(match))], cancel=[OFFER_EXPIRES])
    return _all(accepted, _handed_on(replace(match, stage="accepted"), facts))


def on_offer_expired(timer: DueTimer, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When the therapist did not answer by the deadline, the next one is asked."""
    if match is None or match.stage != "offered" or match.offer is None or timer.due < match.offer.deadline:
        return Decision()
    return _fallen_through(match, "expired", matching.MatchExpired(**_offer(match)), facts)


def on_waiting_retry(timer: DueTimer, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When a place may have appeared, the client who waits is proposed a shortlist, or goes on waiting."""
    return _proposed(match, facts) if match and match.stage == "waiting" else Decision()


def on_handoff_answered(event: handoff.HandoffAnswered, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When a receiver answers, matching confirms it as the arbiter; a desk that accepted hands on to followup."""
    if event.arbiter != DESK:
        return Decision()
    if match is None:
        return Early()
    if isinstance(event, clinical.HandoffAnswered) and event.by == FOLLOWUP:
        return Refused("not-a-desk", reply=_status(match, facts))
    step = _giver(match, facts).answered(match.custody, event)
    if step.verdict == "superseded":
        return Refused("superseded", publish=step.publish, reply=_status(match, facts))
    return _all(_moved(match, step, facts), _followed(match, step, facts))


def on_handoff_overdue(timer: DueTimer, match: Match | None, facts: Facts[Directory]) -> Outcome[Match]:
    """When nobody answered in time, the next named desk is asked."""
    if match is None or match.custody.standing is None or timer.due < match.custody.standing.deadline:
        return Decision()
    cause, giver = match.custody.standing.id, _giver(match, facts)
    return _moved(
        match, giver.overdue(match.custody, timer, cause, facts.now, _told(match), therapist_id=match.therapist), facts
    )


def on_therapist_listed(event: TherapistListed, listing: Listing | None, facts: Facts[Directory]) -> Outcome[Listing]:
    """When a listing is newer than the known one it replaces it, and as many who wait look again as it opens places."""
    if listing and event.version <= listing.version:
        return Decision()
    newer = _LISTING.validate_python(event.model_dump())
    return Decision(newer, hasten=[WAITING_RETRY] * newer.opens(listing))


def _proposed(match: Match, facts: Facts[Directory]) -> Decision[Match]:
    """A new shortlist for the client to choose from, or the waiting list."""
    shortlist = facts.context.shortlist(match.need, facts.subject, match.passed)
    if not shortlist:
        return _waiting(match, facts)
    said: list[Event] = [matching.WaitingEnded()] if match.stage == "waiting" else []
    said.append(matching.ShortlistProposed.model_validate({"candidates": _SHORTLIST.dump_python(shortlist)}))
    return _to(match.proposing(shortlist), facts, publish=said)


def _waiting(match: Match, facts: Facts[Directory]) -> Decision[Match]:
    again = [Timer(WAITING_RETRY, facts.now + facts.context.terms.waiting_retry_every)]
    if match.stage == "waiting":
        return Decision(timers=again)
    anyone = facts.context.qualifies_anyone(match.need, match.passed)
    started = matching.WaitingStarted(reason="no-place" if anyone else "no-candidate")
    return _to(match.waiting(), facts, publish=[started], timers=again)


def _offered(match: Match, facts: Facts[Directory]) -> Decision[Match]:
    """The first of the shortlist who still has a place is asked; when nobody is left, the client gets a new shortlist."""
    places = (facts.context.place(match.need, therapist_id, facts.subject) for therapist_id in match.remaining())
    place = next((place for place in places if place), None)
    return _held(match, place, facts) if place else _proposed(match, facts)


def _held(match: Match, place: TakePlace, facts: Facts[Directory]) -> Decision[Match]:
    deadline = facts.now + facts.context.terms.offer_answer_within
    offer_id = str(uuid.uuid5(_OFFERS, f"{match.handoff_id}|{len(match.past_offers) + 1}"))
    offered = match.offering(offer_id, place, deadline)
    said = matching.MatchOffered(
        **_offer(offered), seat=place.seat, counter=place.counter, capacity=place.capacity, deadline=deadline
    )
    expires = Timer(OFFER_EXPIRES, deadline, patience=None)
    return _to(offered, facts, publish=[said], timers=[expires], effects=[place])


def _fallen_through(match: Match, ending: Ending, said: Event, facts: Facts[Directory]) -> Decision[Match]:
    freed = _freed(match, ending, facts)
    ended: Decision[Match] = Decision(publish=[said], cancel=[OFFER_EXPIRES])
    return _all(ended, freed, _offered(freed.state or match, _after(freed, facts)))


def _freed(match: Match, ending: Ending, facts: Facts[Directory]) -> Decision[Match]:
    """The seat is given back, and whoever waits longest looks again."""
    if match.offer is None:
        return Decision(match)
    free = facts.context.giving_back(match.offer.therapist_id, match.offer.seat, facts.subject)
    said = matching.PlaceFreed(therapist_id=free.therapist, seat=free.seat, counter=free.counter, reason=ending)
    return Decision(match.giving_back(ending), publish=[said], effects=[free], hasten=[WAITING_RETRY])


def _withdrawn(match: Match, facts: Facts[Directory]) -> Decision[Match]:
    """Everything is given back, and whoever began on a handoff of ours stands down too."""
    handed = match.custody.standing or match.custody.last_accepted
    said = [matching.HandoffSuperseded(handoff_id=handed.id, answered_by=handed.receiver, current=None)] if handed else []
    freed = _freed(match, "superseded", facts)
    down = (freed.state or match).standing_down()
    cancel = [OFFER_EXPIRES, WAITING_RETRY, ANSWER_DUE]
    return _all(freed, _to(down, facts, publish=said, cancel=cancel))


def _handed_on(match: Match, facts: Facts[Directory]) -> Decision[Match]:
    """The client is offered to followup, with the therapist who accepted; the giver is whoever is custodian now."""
    cause, deadline = f"{facts.cause.source}|{facts.cause.id}", facts.now + facts.context.terms.handoff_answer_within
    step = _giver(match, facts).offer(
        match.custody, cause, FOLLOWUP, "followup", deadline, match.consent_basis, _told(match), match.therapist
    )
    return _moved(match, step, facts)


def _followed(match: Match, step: Step, facts: Facts[Directory]) -> Decision[Match]:
    """What goes with a confirmed answer into the same decision, so that nothing stands still in between."""
    asked, under = match.custody.standing, replace(match, custody=step.custody)
    if asked and step.verdict == "declined":
        again = _giver(under, facts).escalate(
            step.custody, asked, asked.id, facts.now, _told(match), therapist_id=match.therapist
        )
        return _moved(under, again, facts)
    if asked and step.verdict == "accepted":
        return _to(replace(under, stage="handed-over"), facts) if asked.receiver == FOLLOWUP else _handed_on(under, facts)
    return Decision()


def _giver(match: Match, facts: Facts[Directory]) -> Giver:
    terms = facts.context.terms
    others = tuple(desk for desk in terms.desks if desk != match.custody.custodian)
    return Giver("matching", matching, others or terms.desks, terms.escalated_answer_within)


def _moved(match: Match, step: Step, facts: Facts[Directory]) -> Decision[Match]:
    moved = replace(match, custody=step.custody)
    return _to(moved, facts, publish=step.publish, timers=step.timers, cancel=step.cancel)


def _to(match: Match, facts: Facts[Directory], **asked: Any) -> Decision[Match]:
    return Decision(match, reply=_status(match, facts), **asked)


def _all(*decisions: Decision[S]) -> Decision[S]:
    """One decision of several in order: the last state and reply, and everything that any of them asks for."""
    return Decision(
        next((d.state for d in reversed(decisions) if d.state is not None), None),
        publish=[event for d in decisions for event in d.publish],
        timers=[timer for d in decisions for timer in d.timers],
        cancel=[name for d in decisions for name in d.cancel],
        effects=[effect for d in decisions for effect in d.effects],
        hasten=[name for d in decisions for name in d.hasten],
        reply=next((d.reply for d in reversed(decisions) if d.reply is not None), None),
    )


def _after(decision: Decision[Match], facts: Facts[Directory]) -> Facts[Directory]:
    return replace(facts, context=facts.context.after(decision.effects)) if decision.effects else facts


def _told(match: Match) -> ToldNeed:
    return ToldNeed.model_validate(_NEED.dump_python(match.need))


def _offer(match: Match) -> dict[str, str]:
    if match.offer is None:
        raise ValueError("no offer stands")
    return {"offer_id": match.offer.id, "therapist_id": match.offer.therapist_id}


def _status(match: Match, facts: Facts[Directory]) -> dict[str, Any]:
    return {"episode": facts.subject, "stage": match.stage} | (_offer(match) if match.offer else {})
