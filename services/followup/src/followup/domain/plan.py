"""A follow-up plan: who sees the client, what was heard, and what is expected next."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

_PLANS = uuid.uuid5(uuid.NAMESPACE_URL, "rapport:plan")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was held, or that the client missed."""

    id: str
    held_at: datetime
    attended: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan per handoff; a session is recorded once, and one alliance check per session and rater."""

    id: str
    handoff_id: str
    therapist_id: str
    urgency: str
    active_since: datetime
    first_session_due: datetime
    stage: Literal["active", "stood-down"] = "active"
    sessions: tuple[Session, ...] = ()
    checked: tuple[tuple[str, str], ...] = ()
    last_heard: datetime | None = None

    @staticmethod
    def opened(handoff_id: str, therapist_id: str, urgency: str, now: datetime, due: datetime) -> "Plan":
        """A plan is active from the moment it is opened; its id is derived from the handoff, so replay opens the same."""
        return Plan(str(uuid.uuid5(_PLANS, handoff_id)), handoff_id, therapist_id, urgency, now, due)

    def has_begun(self) -> bool:
        """True when client and therapist have met."""
        return any(session.attended for session in self.sessions)

    def has(self, session_id: str) -> bool:
        """True when this session is on the record."""
        return any(session.id == session_id for session in self.sessions)

    def with_session(self, session: Session) -> "Plan":
        """The plan with one more session heard of."""
        heard = max(self.last_heard or session.held_at, session.held_at)
        return replace(self, sessions=(*self.sessions, session), last_heard=heard)

    def was_checked(self, session_id: str, rater: str) -> bool:
        """True when this rater's check of this session is on the record."""
        return (session_id, rater) in self.checked

    def with_check(self, session_id: str, rater: str) -> "Plan":
        """The plan with one more alliance check."""
        return replace(self, checked=(*self.checked, (session_id, rater)))
