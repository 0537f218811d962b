"""What is wrong with an event before it is sent: envelope, type, schema, and fields that no reader knows."""

import json
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from contracts.catalog import TYPES
from contracts.envelope import Envelope
from contracts.event import REGISTRY, Problem, problems_of
from contracts.parked import RecordParked
from contracts.refusal import EnvelopeError
from contracts.schemas import schema_of
from contracts.structured import read_structured
from contracts.topics import OWNED, RESERVED, topic_of

# message.max.bytes of a broker that was told nothing else: one record with its key and headers.
BROKER_LIMIT = 1_048_588
DOORS = {
    "ServiceRequest": "POST /fhir/ServiceRequest",
    "Bundle": "POST /fhir (transaction, batch) or POST /fhir/$process-message (message)",
}


def problems_in(document: Any, event_type: str | None = None) -> list[Problem]:
    """Every problem of a structured CloudEvent, or of bare data when its type is given."""
    if not isinstance(document, dict):
        return [Problem(path="/", problem="not-an-object", expected="a structured CloudEvent, or data with --type")]
    if "resourceType" in document:
        return [_fhir(str(document["resourceType"]))]
    if event_type is not None and "specversion" not in document:
        return _unknown_type("--type", event_type) or _problems_of_data(event_type, document, "")
    return _problems_of_event(document)


def _fhir(kind: str) -> Problem:
    door = DOORS.get(kind, "no door: a ServiceRequest, or a Bundle with one, is expected")
    return Problem(path="/resourceType", problem="fhir", expected=f"FHIR goes to intake's own door, {door}")


def _problems_of_event(members: dict[str, Any]) -> list[Problem]:
    try:
        envelope, data = read_structured(json.dumps(members))
    except EnvelopeError as error:
        return [Problem(path=f"/{error.path.removeprefix('ce_')}", problem="envelope", expected=error.problem)]
    unknown = _unknown_type("/type", envelope.type)
    if unknown or len(data) > BROKER_LIMIT:
        return unknown or [Problem(path="/data", problem="too-large", expected=_limit(len(data)))]
    return [*_problems_of_sender(envelope), *_problems_of_data(envelope.type, members.get("data"), "/data")]


def _limit(size: int) -> str:
    return f"at most {BROKER_LIMIT} bytes with key and headers, not {size}: the broker refuses more (message.max.bytes)"


def _unknown_type(path: str, event_type: str) -> list[Problem]:
    if event_type in TYPES:
        return []
    near = get_close_matches(event_type, sorted(TYPES), n=1, cutoff=0.3)
    expected = f"a type of docs/events.md, such as {(near or sorted(TYPES))[0]}"
    return [Problem(path=path, problem="unknown-type", expected=expected)]


def _problems_of_sender(envelope: Envelope) -> list[Problem]:
    found = []
    if not envelope.subject:
        found.append(Problem(path="/subject", problem="missing", expected="what the event is about; it becomes the key"))
    if envelope.type == RecordParked.type:
        return found
    owner = OWNED.get(topic_of(envelope.type))
    if owner and envelope.source != owner:
        found.append(Problem(path="/source", problem="foreign-source", expected=f"{owner}: nobody else says this event"))
    if owner is None and envelope.source.startswith(RESERVED):
        expected = f"a source of your own, below none of {', '.join(RESERVED)}"
        found.append(Problem(path="/source", problem="foreign-source", expected=expected))
    return found


def _problems_of_data(event_type: str, data: Any, path: str) -> list[Problem]:
    event = REGISTRY[event_type]
    schema = schema_of(event)
    found = _unknown_fields(schema, schema.get("$defs", {}), data, path)
    try:
        event.model_validate_json(json.dumps(data))
    except ValidationError as error:
        found += [problem.model_copy(update={"path": path + problem.path}) for problem in problems_of(error)]
    return found


def _unknown_fields(schema: dict[str, Any], parts: dict[str, Any], data: Any, path: str) -> list[Problem]:
    if "$ref" in schema:
        schema = parts[schema["$ref"].rpartition("/")[2]]
    if isinstance(data, list):
        items = schema.get("items", {})
        return [p for number, item in enumerate(data) for p in _unknown_fields(items, parts, item, f"{path}/{number}")]
    if "anyOf" in schema:
        return _unknown_fields(next((o for o in schema["anyOf"] if "$ref" in o), {}), parts, data, path)
    if not isinstance(data, dict) or "properties" not in schema:
        return []
    known = schema["properties"]
    unknown = [_unknown_field(f"{path}/{name}", name, known) for name in data if name not in known]
    deeper = [_unknown_fields(known[name], parts, value, f"{path}/{name}") for name, value in data.items() if name in known]
    return unknown + [problem for problems in deeper for problem in problems]


def _unknown_field(path: str, name: str, known: dict[str, Any]) -> Problem:
    near = get_close_matches(name, known, n=1)
    return Problem(path=path, problem="unknown-field", expected=near[0] if near else f"one of {', '.join(known)}")
