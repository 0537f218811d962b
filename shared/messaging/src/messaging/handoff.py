"""The custody machine: offered → accepted | declined | overdue → escalated; pure values that a service's state may hold."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

_HANDOFFS = uuid.uuid5(uuid.NAMESPACE_URL, "rapport:handoff")

Kind = Literal["crisis", "matching", "followup"]
Verdict = Literal["standing", "repeated", "superseded", "unknown"]


@dataclass(frozen=True, slots=True)
class Handoff:
    """One offer of accountability from a giver to a receiver until a deadline."""

    id: str
    giver: str
    receiver: str
    kind: Kind
    attempt: int
    deadline: datetime
    consent_basis: str
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Custody:
    """Who is accountable, as the arbiter of these handoffs knows it.

    There is always one custodian, at most one standing handoff, and only `accepting` moves the custodian.
    """

    custodian: str
    standing: Handoff | None = None
    last_accepted: Handoff | None = None
    closed: tuple[str, ...] = ()

    def offering(
        self, cause: str, receiver: str, kind: Kind, deadline: datetime, consent_basis: str, attempt: int = 1
    ) -> "Custody":
        """A new handoff stands, its id derived from its cause; one that stood before is closed and becomes its predecessor."""
        handoff = Handoff(
            id=str(uuid.uuid5(_HANDOFFS, f"{cause}|{receiver}|{attempt}")),
            giver=self.custodian,
            receiver=receiver,
            kind=kind,
            attempt=attempt,
            deadline=deadline,
            consent_basis=consent_basis,
            previous=next(reversed(self._closing()), None),
        )
        return replace(self, standing=handoff, closed=self._closing())

    def judge(self, handoff_id: str) -> Verdict:
        """What an answer to this handoff is worth now."""
        if self.standing and self.standing.id == handoff_id:
            return "standing"
        if self.last_accepted and self.last_accepted.id == handoff_id:
            return "repeated"
        return "superseded" if handoff_id in self.closed else "unknown"

    def accepting(self) -> "Custody":
        """The receiver of the standing handoff becomes custodian; raises ValueError when none stands."""
        if self.standing is None:
            raise ValueError("no handoff stands")
        return Custody(self.standing.receiver, None, self.standing, self._closing())

    def declining(self) -> "Custody":
        """Nothing stands any more; the giver stays custodian."""
        return replace(self, standing=None, closed=self._closing())

    def _closing(self) -> tuple[str, ...]:
        return (*self.closed, self.standing.id) if self.standing else self.closed
