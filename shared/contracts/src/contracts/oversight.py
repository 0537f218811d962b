"""What oversight says on `oversight.events.v1`; it decides nothing about care."""

from contracts.event import Event


class LedgerRead(Event, type="care.rapport.oversight.ledger-read.v1"):
    """Somebody read the record of one client; subject = episode."""

    reader: str
    purpose: str
    entries: int
