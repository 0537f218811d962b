"""What intake says on `intake.events.v1`; subject = episode."""

from typing import Literal

from pydantic import Field

from contracts import handoff, operations
from contracts.event import Event, Problem
from contracts.vocabulary import Need


class ReferralAccepted(Event, type="care.rapport.intake.referral-accepted.v1"):
    """To the referrer: the referral is ours now; caused by the referrer's own event."""

    assigner: str = Field(description="system or organisation that issued the identifier")
    identifier: str = Field(description="the referrer's identifier of the referral")
    referral_source: str = Field(description="source of the referrer's event")
    referral_id: str = Field(description="id of the referrer's event")
    repeated: bool = Field(default=False, description="the same referral had come before; it is still one episode")


class ReferralRefused(Event, type="care.rapport.intake.referral-refused.v1"):
    """To the referrer: the referral was not taken, and why."""

    assigner: str = Field(description="system or organisation that issued the identifier")
    identifier: str = Field(description="the referrer's identifier of the referral")
    referral_source: str = Field(description="source of the referrer's event")
    referral_id: str = Field(description="id of the referrer's event")
    reason: Literal["no-consent-basis", "invalid", "amended", "deadline-in-the-past", "foreign-source", "withdrawn"] = Field(
        description="code of the reason"
    )
    problems: tuple[Problem, ...] = Field(default=(), description="what is wrong and where, for reason `invalid`")


class EpisodeOpened(Event, type="care.rapport.intake.episode-opened.v1"):
    """A client's journey begins; intake's desk is the custodian."""

    need: Need = Field(description="what the client needs")
    consent_basis: str = Field(description="code of the basis on which the need may be shown")
    custodian: str = Field(description="desk that is accountable from here on")


class DisclosureMade(Event, type="care.rapport.intake.disclosure-made.v1"):
    """Identity was shown to someone after consent was checked."""

    recipient: str = Field(description="who saw it")
    purpose: str = Field(description="for what purpose")
    categories: tuple[Literal["identity", "clinical"], ...] = Field(default=("identity",), description="what was shown")
    consent_basis: str = Field(description="code of the basis on which it was shown")


class HandoffOffered(handoff.HandoffOffered, type="care.rapport.intake.handoff-offered.v1"): ...


class HandoffAccepted(handoff.HandoffAccepted, type="care.rapport.intake.handoff-accepted.v1"): ...


class HandoffDeclined(handoff.HandoffDeclined, type="care.rapport.intake.handoff-declined.v1"): ...


class HandoffSuperseded(handoff.HandoffSuperseded, type="care.rapport.intake.handoff-superseded.v1"): ...


class HandoffOverdue(handoff.HandoffOverdue, type="care.rapport.intake.handoff-overdue.v1"): ...


class HandoffEscalated(handoff.HandoffEscalated, type="care.rapport.intake.handoff-escalated.v1"): ...


class OutboxPosition(operations.OutboxPosition, type="care.rapport.intake.outbox-position.v1"): ...


class OperatorActed(operations.OperatorActed, type="care.rapport.intake.operator-acted.v1"): ...


class GapFound(operations.GapFound, type="care.rapport.intake.gap-found.v1"): ...
