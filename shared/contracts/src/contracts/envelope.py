"""The CloudEvents 1.0 envelope of every event: Kafka binary mode out, binary and structured mode in."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

OURS = "/rapport/"
STRUCTURED = b"application/cloudevents"
# CloudEvents 1.0, "Type System": a String holds no control character, surrogate or non-character.
_LAST_OF_PLANES = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_LAST_OF_PLANES}]")
_BIGINT = 2**63

MAX_TEXT = 500

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
    event that set the timer, that caused this one. Times are read as UTC.
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
HEADERS = {f"ce_{name}": name for name in ("specversion", *_ATTRIBUTES)}
_TEXTS = tuple(name for name in _ATTRIBUTES if name not in ("time", "recordedtime", "sequence"))


def attributes_of(envelope: Envelope) -> dict[str, str]:
    """The attributes as CloudEvents strings; `sequence` is padded so that text order is number order."""
    out = {"specversion": "1.0"}
    for name in _ATTRIBUTES:
        value = getattr(envelope, name)
        if value is not None:
            out[name] = value if isinstance(value, str) else _text(value)
    return out


def structured(attributes: Mapping[str, str], data: Any) -> dict[str, Any]:
    """The JSON members of a structured CloudEvent whose data is JSON."""
    return {**attributes, "datacontenttype": "application/json", "data": data}


def to_headers(attributes: Mapping[str, str]) -> Headers:
    """Kafka binary mode: `ce_<name>` headers, plus `content-type` and the hop's plain `traceparent`."""
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if name != "traceparent"]
    if "traceparent" in attributes:
        headers.append(("traceparent", attributes["traceparent"].encode()))
    return [*headers, ("content-type", b"application/json")]


def read_record(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> tuple[Envelope, bytes]:
    """The envelope and the JSON bytes of its data; raises EnvelopeError when the record is not a CloudEvent.

    Headers that are not the event's own are never looked into; the plain `traceparent` of the last hop wins over the event's.
    """
    found = {name.lower(): raw for name, raw in headers}
    if (found.get("content-type") or b"").lower().startswith(STRUCTURED):
        return read_structured(value)
    if value is None:
        raise EnvelopeError("value", "is null; a CloudEvent with JSON data is expected")
    texts = {HEADERS[header]: _utf8(header, raw) for header, raw in found.items() if header in HEADERS}
    if "traceparent" in found:
        texts["traceparent"] = _utf8("traceparent", found["traceparent"])
    return parse_attributes(texts), value


def read_structured(value: bytes | str | None) -> tuple[Envelope, bytes]:
    """The envelope and the JSON bytes of the data of one structured CloudEvent in JSON."""
    try:
        members = json.loads(value or b"")
    except (ValueError, RecursionError):
        raise EnvelopeError("value", "is not JSON; a structured CloudEvent is expected") from None
    if not isinstance(members, dict):
        raise EnvelopeError("value", "must be one JSON object; batches are not taken")
    return parse_attributes(members), _data(members)


def parse_attributes(texts: Mapping[str, Any]) -> Envelope:
    """An envelope from CloudEvents attribute strings; unknown extensions are passed over, and an empty one is absent.

    A `sequence` that is not ours means something else to its sender and is passed over too.
    """
    if texts.get("specversion") != "1.0":
        raise EnvelopeError("ce_specversion", "must be '1.0'")
    known: dict[str, Any] = {name: texts[name] for name in _TEXTS if texts.get(name) not in (None, "")}
    if not _all_fit(known.values()):
        known = {name: _string(name, value) for name, value in known.items()}
    for required in ("id", "source", "type"):
        if required not in known:
            raise EnvelopeError(f"ce_{required}", "is required and must not be empty")
    known["time"] = _instant("time", texts.get("time"))
    if texts.get("recordedtime") is not None:
        known["recordedtime"] = _instant("recordedtime", texts["recordedtime"])
    if texts.get("sequence") is not None and known["source"].startswith(OURS):
        known["sequence"] = _number(texts["sequence"])
    return Envelope(**known)


def _all_fit(values: Iterable[Any]) -> bool:
    """One look at all texts together; only when it finds something is each looked at, to name it."""
    try:
        together = " ".join(values)
    except TypeError:
        return False
    return len(together) <= MAX_TEXT and not _FORBIDDEN.search(together)


def _data(members: Mapping[str, Any]) -> bytes:
    if members.get("data_base64") is not None:
        return _decoded(members["data_base64"])
    if "data" not in members:
        raise EnvelopeError("data", "is required in a structured CloudEvent")
    return json.dumps(members["data"], separators=(",", ":")).encode()


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise EnvelopeError("data_base64", "is not base64") from None


def _text(value: datetime | int) -> str:
    return f"{value:020d}" if isinstance(value, int) else value.isoformat().replace("+00:00", "Z")


def _utf8(name: str, raw: bytes | None) -> str:
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError:
        raise EnvelopeError(name, "is not UTF-8") from None


def _string(name: str, value: Any) -> str:
    if isinstance(value, str) and len(value) <= 500 and (value.isprintable() or not _FORBIDDEN.search(value)):
        return value
    raise EnvelopeError(f"ce_{name}", "must be text of at most 500 characters without control characters")


def _instant(name: str, value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise EnvelopeError(f"ce_{name}", "must be an RFC 3339 instant with a zone, such as 2026-11-23T09:00:00Z")


def _number(value: Any) -> int:
    text = str(value)
    if isinstance(value, str | int) and text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < _BIGINT:
        return int(text)
    raise EnvelopeError("ce_sequence", "must be a number below 2^63")
