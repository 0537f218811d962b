"""What oversight decides: nothing about care, only that reading a client's record is itself on the record."""

from dataclasses import dataclass
from typing import ClassVar

from contracts.oversight import LedgerRead
from messaging.decision import Command, Decision, Facts, NoContext


class ReadRecord(Command):
    """Somebody wants to see everything that was said about one episode."""

    type: ClassVar[str] = "command:read-record"

    reader: str
    purpose: str
    entries: int


@dataclass(frozen=True, slots=True)
class Readings:
    """Nothing is kept between readings; the kit counts the events of each subject on this row."""


def on_read_record(command: ReadRecord, readings: Readings | None, facts: Facts[NoContext]) -> Decision[Readings]:
    """When somebody reads a client's record, who and why goes on it."""
    read = LedgerRead(reader=command.reader, purpose=command.purpose, entries=command.entries)
    return Decision(readings or Readings(), publish=[read])
