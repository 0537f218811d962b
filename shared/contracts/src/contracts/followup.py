"""What followup says on `followup.events.v1`; subject = episode."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from contracts import handoff
from contracts.clinical import ITEM
from contracts.event import Event
from contracts.vocabulary import Urgency


class HandoffAnswered(handoff.HandoffAnswered, type="care.rapport.followup.handoff-answered.v1"): ...


class PlanActivated(Event, type="care.rapport.followup.plan-activated.v1"):
    """The follow-up plan is active; the first session is expected inside the urgency's clock."""

    plan_id: str
    therapist_id: str
    urgency: Urgency
    first_session_due: datetime


class SessionRecorded(Event, type="care.rapport.followup.session-recorded.v1"):
    """A session is on the record."""

    session_id: str
    number: int = Field(ge=1, description="1 for the first session of the plan, attended or not")
    held_at: datetime
    attended: bool


class SessionOverdue(Event, type="care.rapport.followup.session-overdue.v1"):
    """No first session inside the urgency's clock."""

    due: datetime


class AllianceChecked(Event, type="care.rapport.followup.alliance-checked.v1"):
    """One alliance check is on the record; the instrument is our own and not validated."""

    session_id: str
    rater: Literal["client", "therapist"]
    goals: int = ITEM
    tasks: int = ITEM
    bond: int = ITEM
    trust: int = ITEM
    instrument: Literal["rapport-4-not-validated"] = "rapport-4-not-validated"


class SessionRefused(Event, type="care.rapport.followup.session-refused.v1"):
    """A session or an alliance check could not be recorded."""

    session_id: str
    reason: Literal["already-recorded", "unknown-session", "in-the-future"]


class ReminderDue(Event, type="care.rapport.followup.reminder-due.v1"):
    """Silence: nothing was heard for a while; nothing is sent to anyone at this stage."""

    about: Literal["first-session", "next-session", "alliance-check"]
    silent_since: datetime


class HandoffRefused(Event, type="care.rapport.followup.handoff-refused.v1"):
    """A handoff that cannot stand here: the plan is already active, or stood down."""

    handoff_id: str
    reason: Literal["already-active", "stood-down"]
