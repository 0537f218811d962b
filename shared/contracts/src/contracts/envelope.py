"""The CloudEvents 1.0 envelope of every event, as it is read; `record` reads it from Kafka, `binary` writes it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from contracts.refusal import MAX_TEXT, EnvelopeError, refusal

OURS = "/rapport/"
# CloudEvents 1.0, "Type System": a String holds no control character, surrogate or non-character.
_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\x{fdd0}-\x{fdef}%s]*$" % "".join(  # noqa: UP031
    f"\\x{{{plane << 16 | last:x}}}" for plane in range(17) for last in (0xFFFE, 0xFFFF)
)
_TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def _utc(value: Any) -> datetime:
    try:
        text = value.decode() if isinstance(value, bytes) else value
        instant = text if isinstance(text, datetime) else datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else instant
    except (TypeError, OverflowError):
        raise ValueError from None


def _hop(value: Any) -> str | None:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) and _TRACEPARENT.fullmatch(text) else None


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=_PLAIN)]
Instant = Annotated[AwareDatetime, BeforeValidator(_utc)]
# Two attributes of a sender go on into our own events, so neither can be free text.
Code = Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9-]+$")]


class Envelope(BaseModel):
    """The attributes of one event; its identity is (source, id), its order is by `sequence` within (source, subject).

    `time` is when it happened, `recordedtime` when it was written down; `causationid` is the id of the event, or of the
    event that set the timer, that caused this one. Times are read as UTC; a `traceparent` that W3C Trace Context does not
    know is passed over, as it asks.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Text
    source: Text
    type: Text
    time: Instant
    subject: Text | None = None
    dataschema: Text | None = None
    recordedtime: Instant | None = None
    correlationid: Text | None = None
    causationid: Text | None = None
    sequence: int | None = Field(default=None, ge=0, lt=2**63)
    actor: Text | None = None
    purpose: Text | None = None
    sensitivity: Code | None = None
    traceparent: Annotated[str | None, BeforeValidator(_hop)] = None


HEADERS = {f"ce_{name}": name for name in ("specversion", *Envelope.model_fields)}


def parse_attributes(texts: Mapping[str, Any]) -> Envelope:
    """An envelope from CloudEvents attributes, text or UTF-8; unknown ones are passed over, and an empty one is absent.

    A `sequence` that is not ours means something else to its sender and is passed over too.
    """
    known = {name: value for name, value in texts.items() if value not in (None, "", b"")}
    if known.pop("specversion", None) not in ("1.0", b"1.0"):
        raise EnvelopeError("ce_specversion", "must be '1.0'")
    source = known.get("source")
    if not (source.decode(errors="replace") if isinstance(source, bytes) else str(source)).startswith(OURS):
        known.pop("sequence", None)
    try:
        return Envelope.model_validate(known)
    except ValidationError as error:
        raise refusal(error) from None
