"""Which referrals a Bundle holds: a transaction, a batch or a message."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from intake.fhir.codes import codings
from intake.fhir.document import Document, Json, Located, document_of
from intake.fhir.issues import FhirRefused, Issue, refuse

WRITES = ("POST", "PUT")


@dataclass(frozen=True, slots=True)
class Message:
    """What a MessageHeader says: who sends, under which id, and which requests it is about."""

    document: Document
    id: str | None
    sender: str | None
    event: Json | None
    requests: tuple[Located, ...]


def single(body: Any) -> tuple[Document, Located]:
    """A ServiceRequest on its own, with its client contained; raises FhirRefused for any other resource."""
    document = document_of(body)
    if not document.located or document.located[0].raw is not body or document.located[0].kind != "ServiceRequest":
        raise refuse(_kind(body), "not-supported", "a ServiceRequest is expected here")
    return document, document.located[0]


def transaction(body: Any, *types: str) -> Document:
    """A Bundle of one of the types; raises FhirRefused for another type, and in a transaction for every entry we cannot take.

    In a batch such entries are left out, to be answered each for itself.
    """
    _expect_bundle(body, *types)
    batch = body.get("type") == "batch"
    document = document_of(body, lenient=batch)
    unasked = {f"Bundle.entry[{i}]" for i, entry in enumerate(body.get("entry", [])) if not _writes(entry)}
    if batch:
        document.located = [r for r in document.located if r.path.removesuffix(".resource") not in unasked]
    elif unasked:
        raise FhirRefused(*(Issue(f"{path}.request.method", "not-supported", " or ".join(WRITES)) for path in sorted(unasked)))
    elif not list(requests_of(document)):
        raise refuse("Bundle.entry", "required", "a ServiceRequest is expected among the entries")
    return document


def _writes(entry: Any) -> bool:
    request = entry.get("request") if isinstance(entry, dict) else None
    return not isinstance(request, dict) or request.get("method", "POST") in WRITES


def requests_of(document: Document) -> Iterator[Located]:
    """The ServiceRequests that were sent as such; contained ones belong to something else."""
    return (request for request in document.of("ServiceRequest") if request.container is None)


def message(body: Any) -> Message:
    """A message Bundle whose focus is one or more ServiceRequests; raises FhirRefused for any other."""
    _expect_bundle(body, "message")
    document = document_of(body)
    header = document.located[0] if document.located else None
    if header is None or header.kind != "MessageHeader":
        raise refuse("Bundle.entry[0].resource", "required", "a message begins with its MessageHeader")
    raw = document.read(header)
    _expect_a_new_request(raw, header.path)
    endpoint = (raw.get("source") or {}).get("endpoint")
    return Message(document, header.id or body.get("id"), endpoint, raw.get("eventCoding"), _focus(document, raw, header))


def _focus(document: Document, raw: Json, header: Located) -> tuple[Located, ...]:
    references = raw.get("focus") or []
    if not references:
        raise refuse(f"{header.path}.focus", "required", "a message about a ServiceRequest names it in its focus")
    return tuple(_focused(document, reference, header, i) for i, reference in enumerate(references))


def _focused(document: Document, reference: Any, header: Located, i: int) -> Located:
    found = document.resolve(reference, header)
    if found is None:
        raise refuse(f"{header.path}.focus[{i}]", "not-found", "the resource in focus must be in the same Bundle")
    if found.kind != "ServiceRequest":
        raise refuse(f"{header.path}.focus[{i}]", "not-supported", "a ServiceRequest is expected in focus")
    return found


def _expect_a_new_request(header: Json, path: str) -> None:
    event = (header.get("eventCoding") or {}).get("code") or header.get("eventUri") or ""
    if header.get("response") or event.endswith("-response"):
        answer = "response" if header.get("response") else "event"
        raise refuse(f"{path}.{answer}", "not-supported", "an answer to a message is not a referral")
    reasons = {code for code, _ in codings([header.get("reason")])}
    if reasons & {"update", "delete"}:
        raise refuse(f"{path}.reason", "not-supported", "only a new referral is taken here")


def _expect_bundle(body: Any, *types: str) -> None:
    if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        raise refuse(_kind(body), "not-supported", "a Bundle is expected here")
    if body.get("type") not in types:
        raise refuse("Bundle.type", "not-supported", f"expected: {' or '.join(types)}")


def _kind(body: Any) -> str:
    document = document_of(body)
    return document.located[0].path if body["resourceType"] != "Bundle" else "Bundle"
