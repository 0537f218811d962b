"""What oversight keeps of a Kafka record: our own events whole, of inbound records only what they were and a keyed digest."""

import hmac
import re

from pydantic_core import to_json

from contracts.catalog import TYPES
from contracts.envelope import HEADERS
from contracts.record import read_record
from contracts.refusal import EnvelopeError
from contracts.topics import OWNED, REFERRALS
from messaging.message import Record
from oversight.domain.entry import Entry

_NAMES = {**HEADERS, "traceparent": "traceparent"}
_EPISODE = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def entry_of(record: Record, key: bytes) -> Entry:
    """The entry of a record; one that is not a CloudEvent is known by its place."""
    return _of_our_own(record, key) if record.topic in OWNED else _of_an_inbound_one(record, key)


def by_place(record: Record, key: bytes) -> Entry:
    """The entry of a record that nothing more can be said about than where it is, and its digest."""
    return Entry(f"kafka:{record.topic}", f"{record.partition}-{record.offset}", "unreadable", *_place(record, key))


def _of_our_own(record: Record, key: bytes) -> Entry:
    """Read without checking the envelope: only our relay writes there, and every microsecond is spent per event."""
    try:
        texts = {_NAMES[name]: raw.decode() for name, raw in record.headers if raw is not None and name in _NAMES}
        source, event_id, event_type = texts["source"], texts["id"], texts["type"]
    except (KeyError, UnicodeDecodeError):
        return by_place(record, key)
    if record.value is None or source != OWNED[record.topic]:
        return by_place(record, key)
    return Entry(
        source, event_id, event_type, *_place(record, key), texts.get("subject"), texts.get("sequence"), texts.get("time"),
        to_json(texts).decode(), record.value,
    )  # fmt: skip


def _of_an_inbound_one(record: Record, key: bytes) -> Entry:
    try:
        envelope, _ = read_record(record.headers, record.value)
    except EnvelopeError:
        return by_place(record, key)
    event_type = envelope.type if envelope.type in TYPES else "unknown"
    subject = envelope.subject if record.topic != REFERRALS and _EPISODE.fullmatch(envelope.subject or "") else None
    return Entry(envelope.source, envelope.id, event_type, *_place(record, key), subject)


def _place(record: Record, key: bytes) -> tuple[str, int, int, bytes]:
    return record.topic, record.partition, record.offset, hmac.digest(key, record.value or b"", "sha256")
