"""What matching says on `matching.events.v1`; subject = episode."""

from typing import Literal

from pydantic import Field

from contracts import handoff, operations
from contracts.event import Event, Part
from contracts.vocabulary import Instant


class Reason(Part):
    """One reason for a candidate's place on the shortlist; the points of all reasons add up to the candidate's."""

    code: str = Field(description="code of the reason, such as `language`")
    points: int = Field(description="points it gives or takes")


class Candidate(Part):
    """One therapist on a shortlist."""

    therapist_id: str = Field(description="the therapist")
    points: int = Field(description="sum of the points of all reasons")
    reasons: tuple[Reason, ...] = Field(description="a reason for every point")


class _Offer(Event):
    offer_id: str = Field(description="the offer")
    therapist_id: str = Field(description="the therapist to whom the match is offered")


class HandoffAnswered(handoff.HandoffAnswered, type="care.rapport.matching.handoff-answered.v1"): ...


class ShortlistProposed(Event, type="care.rapport.matching.shortlist-proposed.v1"):
    """Up to three candidates are put to the client, each with its reasons."""

    candidates: tuple[Candidate, ...] = Field(min_length=1, max_length=3, description="best first")


class MatchOffered(_Offer, type="care.rapport.matching.match-offered.v1"):
    """The match is put to the therapist, holding a numbered place until the deadline."""

    seat: int = Field(ge=1, description="number of the place held")
    counter: int = Field(ge=1, description="the therapist's counter of takings and freeings, contiguous")
    capacity: int = Field(ge=0, description="the therapist's capacity when the place was taken")
    deadline: Instant = Field(description="unanswered by then, the offer expires")


class MatchDeclined(_Offer, type="care.rapport.matching.match-declined.v1"):
    """The therapist declined; the place is freed."""

    reason: str = Field(description="code of the reason")


class MatchExpired(_Offer, type="care.rapport.matching.match-expired.v1"):
    """The therapist did not answer by the deadline; the place is freed."""


class MatchAccepted(_Offer, type="care.rapport.matching.match-accepted.v1"):
    """The therapist accepted; the place is kept."""


class PlaceFreed(Event, type="care.rapport.matching.place-freed.v1"):
    """A numbered place of a therapist is free again."""

    therapist_id: str = Field(description="the therapist whose place it is")
    seat: int = Field(ge=1, description="number of the place")
    counter: int = Field(ge=1, description="the therapist's counter of takings and freeings, contiguous")
    reason: Literal["declined", "expired", "superseded", "withdrawn"] = Field(description="why it was freed")


class WaitingStarted(Event, type="care.rapport.matching.waiting-started.v1"):
    """Nobody is left to offer the client to: the client waits for a place, with matching as custodian."""

    reason: Literal["no-candidate", "no-place"] = Field(description="whether nobody fits, or nobody who fits has a place")


class WaitingEnded(Event, type="care.rapport.matching.waiting-ended.v1"):
    """A place appeared; matching goes on."""


class ChoiceRefused(Event, type="care.rapport.matching.choice-refused.v1"):
    """A choice came at the wrong moment or named somebody who is not on the shortlist."""

    reason: Literal["not-on-shortlist", "already-chosen", "no-shortlist", "stood-down"] = Field(description="why not")


class AnswerRefused(Event, type="care.rapport.matching.answer-refused.v1"):
    """An answer to an offer that no longer stands."""

    offer_id: str = Field(description="the offer that was answered")
    reason: Literal["not-offered", "expired", "already-answered", "stood-down"] = Field(description="why not")


class HandoffOffered(handoff.HandoffOffered, type="care.rapport.matching.handoff-offered.v1"): ...


class HandoffAccepted(handoff.HandoffAccepted, type="care.rapport.matching.handoff-accepted.v1"): ...


class HandoffDeclined(handoff.HandoffDeclined, type="care.rapport.matching.handoff-declined.v1"): ...


class HandoffSuperseded(handoff.HandoffSuperseded, type="care.rapport.matching.handoff-superseded.v1"): ...


class HandoffOverdue(handoff.HandoffOverdue, type="care.rapport.matching.handoff-overdue.v1"): ...


class HandoffEscalated(handoff.HandoffEscalated, type="care.rapport.matching.handoff-escalated.v1"): ...


class OutboxPosition(operations.OutboxPosition, type="care.rapport.matching.outbox-position.v1"): ...


class OperatorActed(operations.OperatorActed, type="care.rapport.matching.operator-acted.v1"): ...


class GapFound(operations.GapFound, type="care.rapport.matching.gap-found.v1"): ...
