"""Reads a Kafka record as a CloudEvent, in binary or structured mode."""

from collections.abc import Iterable

from contracts.envelope import HEADERS, Envelope, parse_attributes
from contracts.refusal import EnvelopeError
from contracts.structured import MEDIA_TYPE, read_structured

_ATTRIBUTES = {**HEADERS, "content-type": "content-type", "traceparent": "hop"}


def read_record(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> tuple[Envelope, bytes]:
    """The envelope and the JSON bytes of its data; raises EnvelopeError when the record is not a CloudEvent.

    Headers that are not the event's own are never looked into; the plain `traceparent` of the last hop wins over the event's.
    """
    found = {attribute: raw for name, raw in headers if (attribute := _ATTRIBUTES.get(name.lower()))}
    content_type, hop = found.pop("content-type", None), found.pop("hop", None)
    if content_type and content_type.lower().startswith(MEDIA_TYPE):
        return read_structured(value)
    if value is None:
        raise EnvelopeError("value", "is null; a CloudEvent with JSON data is expected")
    return parse_attributes({**found, "traceparent": hop} if hop else found), value
