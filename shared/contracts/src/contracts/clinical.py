"""What portals and desks say on `clinical.inbound.v1`; subject = episode."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from contracts import handoff
from contracts.event import Event
from contracts.vocabulary import Answer

ITEM = Field(ge=0, le=10, description="0 not at all to 10 fully")


class ChoiceMade(Event, type="care.rapport.clinical.choice-made.v1"):
    """The client chose from the shortlist; `any` leaves it to the ranking."""

    therapist_id: str = Field(min_length=1, max_length=100, description="a therapist on the shortlist, or `any`")


class OfferAnswered(Event, type="care.rapport.clinical.offer-answered.v1"):
    """The therapist answered an offer."""

    offer_id: str = Field(min_length=1, max_length=100)
    answer: Answer
    reason: str | None = Field(default=None, max_length=60, pattern=r"^[a-z0-9-]+$")


class SessionRecorded(Event, type="care.rapport.clinical.session-recorded.v1"):
    """A session took place, or the client did not come."""

    session_id: str = Field(min_length=1, max_length=100)
    held_at: datetime
    attended: bool = True


class AllianceChecked(Event, type="care.rapport.clinical.alliance-checked.v1"):
    """One measurement of the alliance by one rater: our own four items, not a validated instrument."""

    session_id: str = Field(min_length=1, max_length=100)
    rater: Literal["client", "therapist"] = "client"
    goals: int = ITEM
    tasks: int = ITEM
    bond: int = ITEM
    trust: int = ITEM


class HandoffAnswered(handoff.HandoffAnswered, type="care.rapport.clinical.handoff-answered.v1"):
    """A human desk's answer to a handoff."""
