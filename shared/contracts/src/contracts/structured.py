"""The structured mode of CloudEvents: one JSON object that holds attributes and data."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from contracts.envelope import Envelope, parse_attributes
from contracts.refusal import EnvelopeError

MEDIA_TYPE = b"application/cloudevents"


def structured(attributes: Mapping[str, str], data: Any) -> dict[str, Any]:
    """The JSON members of a structured CloudEvent whose data is JSON."""
    return {**attributes, "datacontenttype": "application/json", "data": data}


def read_structured(value: bytes | str | None) -> tuple[Envelope, bytes]:
    """The envelope and the JSON bytes of the data of one structured CloudEvent in JSON."""
    try:
        members = json.loads(value or b"")
    except (ValueError, RecursionError):
        raise EnvelopeError("value", "is not JSON; a structured CloudEvent is expected") from None
    if not isinstance(members, dict):
        raise EnvelopeError("value", "must be one JSON object; batches are not taken")
    return parse_attributes(members), _data(members)


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
