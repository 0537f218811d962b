"""What oversight says on `oversight.events.v1`; it decides nothing about care."""

from pydantic import Field

from contracts import operations
from contracts.event import Event


class LedgerRead(Event, type="care.rapport.oversight.ledger-read.v1"):
    """Somebody read the record of one client; subject = episode."""

    reader: str = Field(description="who read it")
    purpose: str = Field(description="for what purpose")
    entries: int = Field(ge=0, description="how many events were shown")


class OutboxPosition(operations.OutboxPosition, type="care.rapport.oversight.outbox-position.v1"): ...


class OperatorActed(operations.OperatorActed, type="care.rapport.oversight.operator-acted.v1"): ...


class GapFound(operations.GapFound, type="care.rapport.oversight.gap-found.v1"): ...
