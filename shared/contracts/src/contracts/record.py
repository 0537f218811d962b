"""Reads a Kafka record as a CloudEvent, in binary or structured mode."""

from collections.abc import Iterable

from contracts.envelope import HEADERS, Envelope, parse_attributes
from contracts.refusal import EnvelopeError
from contracts.structured import MEDIA_TYPE, read_structured


def read_record(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> tuple[Envelope, bytes]:
    """The envelope and the JSON bytes of its data; raises EnvelopeError when the record is not a CloudEvent.

    Headers that are not the event's own are never looked into; the plain `traceparent` of the last hop wins over the event's.
    """
    found = {name.lower(): raw for name, raw in headers}
    if (found.get("content-type") or b"").lower().startswith(MEDIA_TYPE):
        return read_structured(value)
    if value is None:
        raise EnvelopeError("value", "is null; a CloudEvent with JSON data is expected")
    texts = {HEADERS[header]: raw for header, raw in found.items() if header in HEADERS}
    if "traceparent" in found:
        texts["traceparent"] = found["traceparent"]
    return parse_attributes(texts), value
