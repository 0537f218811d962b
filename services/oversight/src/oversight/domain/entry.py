"""What makes two entries the same event."""

from collections.abc import Iterable

from ledger.entry import LedgerEntry


def said(entry: LedgerEntry) -> tuple[object, ...]:
    """What an entry says: its body, or of an inbound record the keyed digest; the salt makes digests of one body differ."""
    return (entry.digest,) if entry.data is None else (entry.attributes, entry.data)


def once(entries: Iterable[LedgerEntry]) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    """The first entry of each event, and those that claim an event's identity with other content."""
    first: dict[tuple[str, str], LedgerEntry] = {}
    others = [entry for entry in entries if said(first.setdefault((entry.source, entry.id), entry)) != said(entry)]
    return list(first.values()), others
