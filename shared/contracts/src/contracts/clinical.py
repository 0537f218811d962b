"""What portals and desks say on `clinical.inbound.v1`; subject = episode."""

from typing import Annotated, Literal

from pydantic import Field

from contracts import handoff
from contracts.event import Event, Part
from contracts.vocabulary import Answer, Code, Id, Instant

Rater = Literal["client", "therapist"]
Item = Annotated[int, Field(ge=0, le=10)]


class ChoiceMade(Event, type="care.rapport.clinical.choice-made.v1"):
    """The client chose from the shortlist; `any` leaves it to the ranking."""

    therapist_id: Id = Field(description="a therapist on the shortlist, or `any`")


class OfferAnswered(Event, type="care.rapport.clinical.offer-answered.v1"):
    """The therapist answered an offer."""

    offer_id: Id = Field(description="the offer that is answered")
    answer: Answer = Field(description="the therapist's answer")
    reason: Code | None = Field(default=None, description="code, for a decline")


class SessionRecorded(Event, type="care.rapport.clinical.session-recorded.v1"):
    """A session took place, or the client did not come."""

    session_id: Id = Field(description="the portal's id of the session")
    held_at: Instant = Field(description="when the session began, or should have begun")
    attended: bool = Field(default=True, description="false when the client did not come")


class Alliance(Part):
    """The four items that one rater gave after one session: 0 not at all to 10 fully."""

    session_id: Id = Field(description="the session that is rated")
    rater: Rater = Field(default="client", description="who rates")
    goals: Item = Field(description="agreement on goals, 0 to 10")
    tasks: Item = Field(description="agreement on tasks, 0 to 10")
    bond: Item = Field(description="the affective bond, 0 to 10")
    trust: Item = Field(description="trust, 0 to 10")


class AllianceChecked(Alliance, Event, type="care.rapport.clinical.alliance-checked.v1"):
    """One measurement of the alliance by one rater: our own four items, not a validated instrument."""


class HandoffAnswered(handoff.HandoffAnswered, type="care.rapport.clinical.handoff-answered.v1"):
    """A human desk's answer to a handoff."""
