"""What the FHIR door answers: responses to Bundles and messages, the little we show of a referral, and what we can do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from intake.domain.episode import Episode
from intake.fhir.bundles import WRITES, Message, requests_of
from intake.fhir.document import Document, Json, document_of
from intake.fhir.issues import Issue, operation_outcome

_USED = Issue("", "informational", "what the referral needs of it was read; not kept as a resource", "information")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one ServiceRequest."""

    episode: str
    status: int
    remarks: tuple[Issue, ...] = ()

    @property
    def refused(self) -> bool:
        return self.status >= 400


def transaction_response(body: Json, done: Sequence[Submitted]) -> Json:
    """One response per entry: where each ServiceRequest is found, and that the rest was read with them."""
    by_path = dict(zip((r.path for r in requests_of(document_of(body))), done, strict=True))
    entries = [_entry(by_path.get(path), _USED) for path in _paths(body)]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


def batch_response(body: Json, document: Document, done: Mapping[str, Submitted]) -> Json:
    """One response per entry, each with its own outcome."""
    entries = [_entry(done.get(path), _unasked(document, path)) for path in _paths(body)]
    return {"resourceType": "Bundle", "type": "batch-response", "entry": entries}


def message_response(message: Message, done: Sequence[Submitted], fresh: str, now: datetime) -> Json:
    """The answer to a message: that it was taken, and where its ServiceRequests are found."""
    header: Json = {
        "resourceType": "MessageHeader", "id": fresh, "source": {"endpoint": "urn:rapport:intake"},
        "response": {"identifier": message.id or fresh, "code": "ok"},
        "focus": [{"reference": f"ServiceRequest/{one.episode}"} for one in done],
        **({"eventCoding": message.event} if message.event else {"eventUri": "urn:rapport:referral"}),
    }  # fmt: skip
    outcome = operation_outcome(remark for one in done for remark in one.remarks)
    entries = [{"fullUrl": f"urn:uuid:{fresh}", "resource": header}, {"resource": outcome}]
    return {"resourceType": "Bundle", "type": "message", "timestamp": now.isoformat(), "entry": entries}


def service_request(episode: str, known: Episode) -> Json:
    """A referral as FHIR sees it, without anything that names the client."""
    return {
        "resourceType": "ServiceRequest", "id": episode, "status": "active", "intent": "order",
        "identifier": [{"assigner": {"display": known.assigner}, "value": known.identifier}],
        "subject": {"reference": f"Patient/{episode}"},
    }  # fmt: skip


def capabilities() -> Json:
    """The CapabilityStatement of this door."""
    resource = {"type": "ServiceRequest", "interaction": [{"code": "create"}, {"code": "read"}]}
    operations = [
        {"name": name, "definition": f"http://hl7.org/fhir/OperationDefinition/{definition}"}
        for name, definition in (("process-message", "MessageHeader-process-message"), ("validate", "Resource-validate"))
    ]
    rest = {
        "mode": "server", "resource": [resource], "operation": operations,
        "interaction": [{"code": "transaction"}, {"code": "batch"}],
    }  # fmt: skip
    return {
        "resourceType": "CapabilityStatement", "status": "active", "date": "2026-11-23", "kind": "instance",
        "implementation": {"description": "Rapport intake"}, "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"], "rest": [rest],
    }  # fmt: skip


def _paths(body: Json) -> Iterator[str]:
    return (f"Bundle.entry[{i}].resource" for i in range(len(body.get("entry", []))))


def _entry(one: Submitted | None, otherwise: Issue) -> Json:
    if one is None:
        status = "200 OK" if otherwise.severity == "information" else "422 Unprocessable Content"
        return {"response": {"status": status, "outcome": operation_outcome([otherwise])}}
    if one.refused:
        return {"response": {"status": "422 Unprocessable Content", "outcome": operation_outcome(one.remarks)}}
    status = "201 Created" if one.status == 201 else "200 OK"
    response = {"status": status, "location": f"ServiceRequest/{one.episode}"}
    return {"response": response | ({"outcome": operation_outcome(one.remarks)} if one.remarks else {})}


def _unasked(document: Document, path: str) -> Issue:
    if document.was_used(path):
        return _USED
    return Issue(path, "not-supported", f"a ServiceRequest to {' or '.join(WRITES)}, or what belongs to one, is expected")
