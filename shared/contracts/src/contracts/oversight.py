"""What oversight says on `oversight.events.v1`; it decides nothing about care."""

from pydantic import Field

from contracts.event import Event


class LedgerRead(Event, type="care.rapport.oversight.ledger-read.v1"):
    """Somebody read the record of one client; subject = episode."""

    reader: str = Field(description="who read it")
    purpose: str = Field(description="for what purpose")
    entries: int = Field(ge=0, description="how many events were shown")
