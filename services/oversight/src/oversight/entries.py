"""What oversight keeps of a Kafka record: our own events whole, of inbound records only what they were and a keyed digest."""

import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from secrets import token_bytes

from pydantic_core import to_json

from contracts.catalog import TYPES
from contracts.envelope import HEADERS
from contracts.record import read_record
from contracts.refusal import EnvelopeError
from contracts.topics import OWNED, REFERRALS, RESERVED, topic_of
from ledger.entry import SALT_BYTES, LedgerEntry, digest_of
from messaging.message import Record

_NAMES = {**HEADERS, "traceparent": "traceparent"}
_EPISODE = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def entries_of(records: Sequence[Record], key: bytes) -> list[LedgerEntry]:
    """An entry per record, recorded now; one that is not a CloudEvent is known by its place."""
    at, salts = datetime.now(UTC), token_bytes(SALT_BYTES * len(records))
    return [
        _of_our_own(record, at, salts[n * SALT_BYTES : (n + 1) * SALT_BYTES], key)
        if record.topic in OWNED
        else _of_an_inbound_one(record, at, key)
        for n, record in enumerate(records)
    ]


def by_place(record: Record, at: datetime, key: bytes) -> LedgerEntry:
    """The entry of a record that nothing more can be said about than where it is, and its digest."""
    source, event_id = f"kafka:{record.topic}", f"{record.partition}-{record.offset}"
    return LedgerEntry(source, event_id, "unreadable", *_place(record), None, at, _keyed(record, key))


def _of_our_own(record: Record, at: datetime, salt: bytes, key: bytes) -> LedgerEntry:
    """Read without checking the envelope: only our relay writes there, and every microsecond is spent per event."""
    try:
        texts = {_NAMES[name]: raw.decode() for name, raw in record.headers if raw is not None and name in _NAMES}
        source, event_id, event_type = texts["source"], texts["id"], texts["type"]
    except (KeyError, UnicodeDecodeError):
        return by_place(record, at, key)
    if record.value is None or source != OWNED[record.topic]:
        return by_place(record, at, key)
    attributes = to_json(texts).decode()
    return LedgerEntry(
        source, event_id, event_type, *_place(record), texts.get("subject"), at, digest_of(salt, attributes, record.value),
        salt, attributes, record.value,
    )  # fmt: skip


def _of_an_inbound_one(record: Record, at: datetime, key: bytes) -> LedgerEntry:
    """Whoever may write there says what they like: nothing that could be taken for an event of ours, or for a place."""
    try:
        envelope, _ = read_record(record.headers, record.value)
    except EnvelopeError:
        return by_place(record, at, key)
    if envelope.source.startswith(RESERVED):
        return by_place(record, at, key)
    event_type = envelope.type if envelope.type in TYPES and topic_of(envelope.type) == record.topic else "unknown"
    subject = envelope.subject if record.topic != REFERRALS and _EPISODE.fullmatch(envelope.subject or "") else None
    return LedgerEntry(envelope.source, envelope.id, event_type, *_place(record), subject, at, _keyed(record, key))


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _keyed(record: Record, key: bytes) -> bytes:
    return hmac.digest(key, record.value or b"", "sha256")
