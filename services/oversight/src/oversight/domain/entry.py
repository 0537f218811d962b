"""One entry of the record, and what makes two of them the same event."""

from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """One row to be: texts as they will be stored, `attributes` and `data` only for events of our own."""

    source: str
    id: str
    type: str
    topic: str
    part: int
    position: int
    digest: bytes
    subject: str | None = None
    sequence: str | None = None
    time: str | None = None
    attributes: str | None = None
    data: bytes | None = None


def once(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The first entry of each event, and those that claim an event's identity with other content."""
    first: dict[tuple[str, str], Entry] = {}
    others = [entry for entry in entries if first.setdefault((entry.source, entry.id), entry).digest != entry.digest]
    return list(first.values()), others
