"""The CloudEvents 1.0 envelope of every event: Kafka binary mode out, binary and structured mode in."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

OURS = "/rapport/"
STRUCTURED = b"application/cloudevents"
# CloudEvents 1.0, "Type System": a String holds no control character, surrogate or non-character.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

Headers = list[tuple[str, bytes]]


class EnvelopeError(ValueError):
    """The record is not a CloudEvent; `path` names the header or member, never its value."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The attributes of one event; its identity is (source, id), its order is by `sequence` within (source, subject).

    `time` is when it happened, `recordedtime` when it was written down; `causationid` is the id of the event, or of the
    event that set the timer, that caused this one. All times carry a zone.
    """

    id: str
    source: str
    type: str
    time: datetime
    subject: str | None = None
    dataschema: str | None = None
    recordedtime: datetime | None = None
    correlationid: str | None = None
    causationid: str | None = None
    sequence: int | None = None
    actor: str | None = None
    purpose: str | None = None
    sensitivity: str | None = None
    traceparent: str | None = None


_ATTRIBUTES = tuple(f.name for f in fields(Envelope))
_TEXTS = tuple(name for name in _ATTRIBUTES if name not in ("time", "recordedtime", "sequence"))


def attributes_of(envelope: Envelope) -> dict[str, str]:
    """The attributes as CloudEvents strings; `sequence` is padded so that text order is number order."""
    out = {"specversion": "1.0"}
    for name in _ATTRIBUTES:
        value = getattr(envelope, name)
        if value is not None:
            out[name] = value if isinstance(value, str) else _text(value)
    return out


def to_headers(attributes: Mapping[str, str]) -> Headers:
    """Kafka binary mode: `ce_<name>` headers, plus `content-type` and the hop's plain `traceparent`."""
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if name != "traceparent"]
    if "traceparent" in attributes:
        headers.append(("traceparent", attributes["traceparent"].encode()))
    return [*headers, ("content-type", b"application/json")]


def read_record(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> tuple[Envelope, bytes]:
    """The envelope and the JSON bytes of its data; raises EnvelopeError when the record is not a CloudEvent."""
    found = {name.lower(): raw for name, raw in headers}
    if (found.get("content-type") or b"").lower().startswith(STRUCTURED):
        return _structured(value)
    if value is None:
        raise EnvelopeError("value", "is null; a CloudEvent with JSON data is expected")
    return parse_attributes({n[3:] if n.startswith("ce_") else n: _utf8(n, raw) for n, raw in found.items()}), value


def parse_attributes(texts: Mapping[str, Any]) -> Envelope:
    """An envelope from CloudEvents attribute strings; unknown extensions are passed over."""
    if texts.get("specversion") != "1.0":
        raise EnvelopeError("ce_specversion", "must be '1.0'")
    known: dict[str, Any] = {name: _string(name, texts[name]) for name in _TEXTS if texts.get(name) is not None}
    for required in ("id", "source", "type"):
        if not known.get(required):
            raise EnvelopeError(f"ce_{required}", "is required and must not be empty")
    known["time"] = _instant("time", texts.get("time"))
    if "recordedtime" in texts:
        known["recordedtime"] = _instant("recordedtime", texts["recordedtime"])
    if "sequence" in texts:
        known["sequence"] = _number(texts["sequence"])
    return Envelope(**known)


def _structured(value: bytes | None) -> tuple[Envelope, bytes]:
    try:
        members = json.loads(value or b"")
    except ValueError:
        raise EnvelopeError("value", "is not JSON; a structured CloudEvent is expected") from None
    if not isinstance(members, dict) or "data" not in members:
        raise EnvelopeError("data", "is required in a structured CloudEvent")
    data = members.pop("data")
    return parse_attributes(members), json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _text(value: datetime | int) -> str:
    return f"{value:020d}" if isinstance(value, int) else value.isoformat().replace("+00:00", "Z")


def _utf8(name: str, raw: bytes | None) -> str:
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError:
        raise EnvelopeError(name, "is not UTF-8") from None


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 500 or _FORBIDDEN.search(value):
        raise EnvelopeError(f"ce_{name}", "must be text of at most 500 characters without control characters")
    return value


def _instant(name: str, value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise EnvelopeError(f"ce_{name}", "must be an RFC 3339 instant, such as 2026-11-23T09:00:00Z") from None
    if instant.tzinfo is None:
        raise EnvelopeError(f"ce_{name}", "must carry a time zone")
    return instant


def _number(value: Any) -> int:
    if not isinstance(value, str | int) or not str(value).isascii() or not str(value).isdigit():
        raise EnvelopeError("ce_sequence", "must be a number")
    return int(value)
