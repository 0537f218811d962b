"""What followup says on `followup.events.v1`; subject = episode."""

from typing import Literal

from pydantic import Field

from contracts import handoff, operations
from contracts.clinical import Alliance
from contracts.event import Event
from contracts.vocabulary import Instant, Urgency


class HandoffAnswered(handoff.HandoffAnswered, type="care.rapport.followup.handoff-answered.v1"): ...


class PlanActivated(Event, type="care.rapport.followup.plan-activated.v1"):
    """The follow-up plan is active; the first session is expected inside the urgency's clock."""

    plan_id: str = Field(description="the plan; one per episode")
    therapist_id: str = Field(description="the therapist who accepted the client")
    urgency: Urgency = Field(description="sets the clock of the first session")
    first_session_due: Instant = Field(description="the first session is expected by then")


class SessionRecorded(Event, type="care.rapport.followup.session-recorded.v1"):
    """A session is on the record."""

    session_id: str = Field(description="the portal's id of the session")
    number: int = Field(ge=1, description="1 for the first session of the plan, attended or not")
    held_at: Instant = Field(description="when the session began, or should have begun")
    attended: bool = Field(description="false when the client did not come")


class SessionOverdue(Event, type="care.rapport.followup.session-overdue.v1"):
    """No first session inside the urgency's clock."""

    due: Instant = Field(description="the first session was expected by then")


class AllianceChecked(Alliance, Event, type="care.rapport.followup.alliance-checked.v1"):
    """One alliance check is on the record; the instrument is our own and not validated."""

    instrument: Literal["rapport-4-not-validated"] = Field(
        default="rapport-4-not-validated", description="our own four items, not a validated instrument"
    )


class SessionRefused(Event, type="care.rapport.followup.session-refused.v1"):
    """A session or an alliance check could not be recorded."""

    session_id: str = Field(description="the session that was to be recorded or rated")
    reason: Literal["already-recorded", "unknown-session", "in-the-future"] = Field(description="why not")


class ReminderDue(Event, type="care.rapport.followup.reminder-due.v1"):
    """Silence: nothing was heard for a while; nothing is sent to anyone at this stage."""

    about: Literal["first-session", "next-session", "alliance-check"] = Field(description="what was expected")
    silent_since: Instant = Field(description="nothing was heard since then")


class PlanStoodDown(Event, type="care.rapport.followup.plan-stood-down.v1"):
    """The handoff behind the plan was superseded: followup gives the plan up."""

    plan_id: str = Field(description="plan that is given up")
    handoff_id: str = Field(description="handoff that was superseded")


class OutboxPosition(operations.OutboxPosition, type="care.rapport.followup.outbox-position.v1"): ...


class OperatorActed(operations.OperatorActed, type="care.rapport.followup.operator-acted.v1"): ...


class GapFound(operations.GapFound, type="care.rapport.followup.gap-found.v1"): ...
