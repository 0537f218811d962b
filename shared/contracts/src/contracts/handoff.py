"""The events of one handoff, shared by every giver and receiver; each owner publishes them under its own type.

A handoff is offered by its giver, who stays custodian until its own HandoffAccepted. The receiver says HandoffAnswered; only
the giver's service (the arbiter) turns that into HandoffAccepted, HandoffDeclined or HandoffSuperseded.
"""

from typing import Literal

from pydantic import Field

from contracts.event import Event
from contracts.vocabulary import Answer, Arbiter, Code, Id, Instant, Need


class _Handoff(Event):
    handoff_id: str = Field(description="derived from the cause, so that replay finds the same handoff")
    giver: str = Field(description="desk accountable until the acceptance is confirmed")
    receiver: str = Field(description="desk that is asked to become accountable")
    attempt: int = Field(ge=1, description="1 for the first receiver asked; each escalation is the next attempt")


class HandoffOffered(_Handoff):
    """Accountability for the episode is offered to the receiver until the deadline."""

    previous: str | None = Field(default=None, description="id of the handoff before it in the chain of this episode")
    kind: Literal["crisis", "matching", "followup"] = Field(description="what the receiver is asked to do")
    arbiter: Arbiter = Field(description="service that confirms the answer")
    deadline: Instant = Field(description="unanswered by then, the handoff is overdue")
    consent_basis: str = Field(description="code of the basis on which the need may be shown to the receiver")
    need: Need = Field(description="what the client needs, as far as the consent basis allows")
    therapist_id: str | None = Field(default=None, description="therapist who accepted the client, for kind followup")


class HandoffAnswered(Event):
    """The receiver's word on a handoff; it becomes binding when the arbiter confirms it."""

    handoff_id: Id = Field(description="the handoff that is answered")
    arbiter: Arbiter = Field(description="service that confirms the answer, as the offer named it")
    answer: Answer = Field(description="the receiver's answer")
    by: Id = Field(description="desk that answers")
    reason: Code | None = Field(default=None, description="code, for a decline")


class HandoffAccepted(_Handoff):
    """The arbiter confirms: from here the receiver is the custodian."""


class HandoffDeclined(_Handoff):
    """The arbiter confirms that the receiver declined; the giver stays custodian."""

    reason: str = Field(description="code of the reason")


class HandoffSuperseded(Event):
    """The answer came too late or twice: who began on it stands down."""

    handoff_id: str = Field(description="the handoff that no longer stands")
    answered_by: str = Field(description="desk that answered, and stands down")
    current: str | None = Field(default=None, description="id of the handoff that stands instead")


class HandoffOverdue(_Handoff):
    """The deadline passed without an answer; the giver stays custodian."""

    backlog_unread: bool = Field(default=False, description="the arbiter had not yet read all answers up to the deadline")


class HandoffEscalated(_Handoff):
    """The handoff goes on to a named desk; `next_handoff_id` is the attempt that follows."""

    next_handoff_id: str = Field(description="the attempt that follows")
    escalated_to: str = Field(description="named desk that is asked next")
