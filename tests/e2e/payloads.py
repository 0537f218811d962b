"""The same referral for every door: as data, as a Kafka record in both modes, and as each kind of FHIR payload."""

import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Literal

from cli.demo.fhir import bundle_of
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.referral import ReferralSubmitted
from contracts.structured import structured

Json = dict[str, Any]
Mode = Literal["binary", "structured"]
KafkaRecord = tuple[list[tuple[str, bytes]], bytes]

MODES: tuple[Mode, ...] = ("binary", "structured")
FHIR_DOORS = ("/fhir/ServiceRequest", "/fhir (transaction)", "/fhir (batch)", "/fhir/$process-message")
FHIR = {"content-type": "application/fhir+json"}
ASSIGNER = "st-mary"
SOURCE = f"/ehr/{ASSIGNER}"
STRUCTURED = [("content-type", b"application/cloudevents+json")]
_CLIENT = {"record_number": "M-1", "family_name": "Doe", "given_name": "Jo", "birth_date": "1990-05-01", "phone": "555-0100"}


def referral(identifier: str, **changes: Any) -> Json:
    """A referral that is taken as it stands; `changes` replace its members."""
    plain = {
        "assigner": ASSIGNER, "identifier": identifier, "client": _CLIENT, "need": {"problem_area": "anxiety", "place": "NY"},
        "consent": {"kind": "written-consent"}, "note": "Prefers mornings.",
    }  # fmt: skip
    return {**deepcopy(plain), **changes}


def attributes(event_id: str, subject: str | None, **changes: str | None) -> dict[str, str]:
    """CloudEvents attributes of a submitted referral; a change to None leaves the attribute out."""
    envelope = Envelope(id=event_id, source=SOURCE, type=ReferralSubmitted.type, subject=subject, time=datetime.now(UTC))
    return {name: value for name, value in {**attributes_of(envelope), **changes}.items() if value is not None}


def record(mode: Mode, said: Mapping[str, str], data: Any) -> KafkaRecord:
    """Headers and value; data that is bytes goes out as it is, in binary mode only."""
    if mode == "structured":
        return STRUCTURED, json.dumps(structured(said, data)).encode()
    return to_headers(said), data if isinstance(data, bytes) else json.dumps(data).encode()


def transaction(data: Mapping[str, Any]) -> Json:
    """The FHIR transaction of a referral; the demo's own."""
    return bundle_of(ReferralSubmitted.model_validate(data))


def fhir_body(door: str, bundle: Mapping[str, Any]) -> Json:
    """The resources of a transaction as the door wants them."""
    own = deepcopy(dict(bundle))
    if door == "/fhir (batch)":
        return own | {"type": "batch"}
    if door == "/fhir/ServiceRequest":
        return _with_contained(own)
    return _message(own) if door == "/fhir/$process-message" else own


def path_of(door: str) -> str:
    """The HTTP path of a FHIR door."""
    return door.partition(" ")[0]


def resource(bundle: Json, kind: str) -> Json:
    """The first resource of this kind in a Bundle."""
    found: Json = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind)
    return found


def _with_contained(bundle: Json) -> Json:
    """References by full URL become references to what is contained."""
    entries = bundle["entry"]
    text = json.dumps([entry["resource"] for entry in entries])
    for entry in entries:
        text = text.replace(f'"{entry["fullUrl"]}"', f'"#{entry["fullUrl"].rpartition(":")[2]}"')
    named = [one | {"id": entry["fullUrl"].rpartition(":")[2]} for one, entry in zip(json.loads(text), entries, strict=True)]
    request: Json = next(one for one in named if one["resourceType"] == "ServiceRequest")
    return request | {"contained": [one for one in named if one is not request]}


def _message(bundle: Json) -> Json:
    focus = next(e["fullUrl"] for e in bundle["entry"] if e["resource"]["resourceType"] == "ServiceRequest")
    header = {
        "resourceType": "MessageHeader", "eventCoding": {"system": "urn:test", "code": "servicerequest-request"},
        "source": {"endpoint": ASSIGNER}, "focus": [{"reference": focus}],
    }  # fmt: skip
    entries = [{"fullUrl": "urn:test:header", "resource": header}, *bundle["entry"]]
    return {"resourceType": "Bundle", "type": "message", "entry": entries}
