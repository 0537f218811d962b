"""Writes an envelope as attributes and as the headers of Kafka's binary mode."""

from collections.abc import Mapping
from datetime import datetime

from contracts.envelope import Envelope

Headers = list[tuple[str, bytes]]


def attributes_of(envelope: Envelope) -> dict[str, str]:
    """The attributes as CloudEvents strings; `sequence` is padded so that text order is number order."""
    known = {name: getattr(envelope, name) for name in Envelope.model_fields}
    return {"specversion": "1.0", **{name: _text(value) for name, value in known.items() if value is not None}}


def to_headers(attributes: Mapping[str, str]) -> Headers:
    """Kafka binary mode: `ce_<name>` headers, plus `content-type` and the hop's plain `traceparent`."""
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if name != "traceparent"]
    hop = [("traceparent", attributes["traceparent"].encode())] if "traceparent" in attributes else []
    return [*headers, *hop, ("content-type", b"application/json")]


def _text(value: str | int | datetime) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return f"{value:020d}" if isinstance(value, int) else value
