"""Entries as oversight makes them, in any number."""

from datetime import UTC, datetime, timedelta

from ledger.entry import LedgerEntry, digest_of

_BEGIN = datetime(2026, 11, 23, 9, tzinfo=UTC)


def entry(number: int) -> LedgerEntry:
    """Every third is an inbound record, of which there is a digest alone."""
    salt, at = number.to_bytes(16), _BEGIN + timedelta(milliseconds=number)
    source, place = f"/rapport/{('intake', 'matching')[number % 2]}", (number % 12, number)
    if number % 3 == 2:
        return LedgerEntry("hospital", str(number), "t", "clinical.inbound.v1", *place, None, at, digest_of(salt, "", b""))
    attributes, data = f'{{"id":"{number}"}}', f'{{"number":{number}}}'.encode()
    digest = digest_of(salt, attributes, data)
    return LedgerEntry(
        source, str(number), "t", "intake.events.v1", *place, f"e-{number // 9}", at, digest, salt, attributes, data
    )
