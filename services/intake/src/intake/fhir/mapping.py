"""A FHIR ServiceRequest with its Patient, Tasks, Conditions and Consent, as the very referral that the other doors take."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contracts.event import problems_of
from contracts.referral import ReferralSubmitted
from contracts.vocabulary import ProblemArea, Urgency
from intake.fhir.codes import URGENCY, areas, codings
from intake.fhir.consent import basis_of
from intake.fhir.document import Document, Json, Located
from intake.fhir.issues import FhirRefused, Issue, refuse
from intake.fhir.people import client_of, language_of, place_of, record_number
from intake.fhir.times import last_moment

MAX_NOTE = 20_000
_DEAD_TASK = ("cancelled", "entered-in-error", "rejected")
_MOST_URGENT = ("emergency", "urgent", "routine")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A referral, the ServiceRequest it came from, and where in the payload each part of it stands."""

    referral: ReferralSubmitted
    request: Located
    where: Mapping[str, str]

    def expression(self, pointer: str) -> str:
        """The FHIRPath for a JSON pointer into the referral."""
        return _expression(self.where, pointer)


def mapped(document: Document, request: Located, sender: str | None, unnamed: Callable[[], str]) -> Mapped:
    """The referral; raises FhirRefused with every place that keeps it from being one.

    `sender` is who sent the payload, when it says so; `unnamed` gives an identifier to a request that has none.
    """
    raw = document.read(request)
    _expect_a_live_request(raw, request)
    client = _client(document, raw, request)
    patient, tasks = document.read(client), _tasks(document, request)
    found, urgency = list(areas(_concepts(document, raw, request, tasks))), _urgency(raw, request, tasks)
    basis, basis_path = basis_of(document, request, client, found, urgency == "emergency")
    deadline, deadline_path = _deadline(tasks, request)
    assigner, identifier = _names(raw, request, patient, sender, unnamed)
    fields = {
        "assigner": assigner, "identifier": identifier, "client": client_of(patient, client.path), "consent": basis,
        "need": {
            "problem_area": _main(found), "urgency": urgency, "language": language_of(patient), "place": place_of(patient),
        },
        "respond_by": deadline, "note": _note(document, raw, request),
    }  # fmt: skip
    return _checked(fields, request, _where(request, client, basis_path, deadline_path))


def _checked(fields: Json, request: Located, where: Mapping[str, str]) -> Mapped:
    try:
        return Mapped(ReferralSubmitted.model_validate(fields), request, where)
    except ValidationError as error:
        found = problems_of(error)
    raise FhirRefused(*(Issue(_expression(where, p.path), "value", p.expected or "is not valid here") for p in found))


def _where(request: Located, client: Located, basis_path: str, deadline_path: str) -> dict[str, str]:
    return {
        "/": request.path, "ce_subject": f"{request.path}.identifier", "/assigner": f"{request.path}.identifier",
        "/identifier": f"{request.path}.identifier", "/client": client.path,
        "/client/record_number": f"{client.path}.identifier", "/client/family_name": f"{client.path}.name",
        "/client/given_name": f"{client.path}.name", "/client/birth_date": f"{client.path}.birthDate",
        "/client/phone": f"{client.path}.telecom", "/client/email": f"{client.path}.telecom",
        "/client/address": f"{client.path}.address", "/need/language": f"{client.path}.communication",
        "/need/urgency": f"{request.path}.priority", "/consent": basis_path, "/respond_by": deadline_path,
        "/note": f"{request.path}.note",
    }  # fmt: skip


def _expression(where: Mapping[str, str], pointer: str) -> str:
    while pointer not in where and "/" in pointer:
        pointer = pointer.rpartition("/")[0]
    return where.get(pointer, where["/"])


def _expect_a_live_request(raw: Json, request: Located) -> None:
    if raw.get("status") != "active":
        raise refuse(f"{request.path}.status", "business-rule", "only an active request is a referral")
    if raw.get("doNotPerform"):
        raise refuse(f"{request.path}.doNotPerform", "business-rule", "a request not to do something is no referral")


def _client(document: Document, raw: Json, request: Located) -> Located:
    client = document.resolve(raw.get("subject"), request)
    if client is None:
        text = "the Patient must be contained, or be in the same Bundle"
        raise refuse(f"{request.path}.subject", "not-found", text)
    if client.kind != "Patient":
        raise refuse(f"{request.path}.subject", "not-supported", "only a Patient can be referred")
    return client


def _tasks(document: Document, request: Located) -> list[tuple[Located, Json]]:
    """The Tasks that ask for this request to be fulfilled."""
    read = [(task, document.read(task)) for task in document.of("Task")]
    live = [(task, raw) for task, raw in read if raw.get("status") not in _DEAD_TASK]
    return [(task, raw) for task, raw in live if document.resolve(raw.get("focus"), task) == request]


def _concepts(document: Document, raw: Json, request: Located, tasks: list[tuple[Located, Json]]) -> Iterator[Any]:
    """Everything that says why: the reasons first, then the Conditions sent along, then what is asked for."""
    yield from raw.get("reasonCode") or []
    for reference in [*(raw.get("reasonReference") or []), *(raw.get("supportingInfo") or [])]:
        reason = document.resolve(reference, request)
        if reason and document.use(reason).kind in ("Condition", "Observation"):
            yield _code_of(document, reason)
    for condition in document.of("Condition"):
        if document.resolve(condition.raw.get("subject"), condition) == document.resolve(raw.get("subject"), request):
            yield _code_of(document, condition)
    yield from (task.get("reasonCode") for _, task in tasks)
    yield raw.get("code")
    yield from raw.get("orderDetail") or []


def _code_of(document: Document, reason: Located) -> Any:
    return document.read(reason).get("code")


def _main(found: list[ProblemArea]) -> ProblemArea:
    return found[0] if found else "unspecified"


def _urgency(raw: Json, request: Located, tasks: list[tuple[Located, Json]]) -> Urgency:
    """The most urgent priority that the request or one of its Tasks has."""
    asked = [(request.path, raw.get("priority")), *((task.path, task_raw.get("priority")) for task, task_raw in tasks)]
    for path, priority in asked:
        if priority is not None and priority not in URGENCY:
            raise refuse(f"{path}.priority", "value", ", ".join(URGENCY))
    return min((URGENCY[p] for _, p in asked if p), key=_MOST_URGENT.index, default="routine")


def _deadline(tasks: list[tuple[Located, Json]], request: Located) -> tuple[Any, str]:
    """A Task's restriction says until when an answer is expected; the request's occurrence is when care is wanted."""
    ends = [(_end(raw), f"{task.path}.restriction.period.end") for task, raw in tasks]
    known = [(end, path) for end, path in ends if end]
    return min(known) if known else (None, request.path)


def _end(task: Json) -> Any:
    return last_moment(((task.get("restriction") or {}).get("period") or {}).get("end"))


def _names(raw: Json, request: Located, patient: Json, sender: str | None, unnamed: Callable[[], str]) -> tuple[str, str]:
    """Assigner and identifier: the request's own, else its address at a sender we can tell, else one we give it."""
    number = record_number(patient) or {}
    issuer = sender or _base(request.full_url) or number.get("system")
    own = _own_identifier(raw)
    if own:
        return own.get("system") or _organisation(own) or issuer or "unknown", own["value"]
    if issuer and (request.id or request.full_url):
        return issuer, f"ServiceRequest/{request.id}" if request.id else str(request.full_url)
    return issuer or "unknown", unnamed()


def _own_identifier(raw: Json) -> Json | None:
    valued = [i for i in raw.get("identifier") or [] if i and i.get("value")]
    placers = [i for i in valued if "PLAC" in {code for code, _ in codings([i.get("type")])}]
    return next(iter(placers + valued), None)


def _organisation(identifier: Json) -> str | None:
    assigner = identifier.get("assigner") or {}
    return (assigner.get("identifier") or {}).get("value") or assigner.get("display") or assigner.get("reference")


def _base(full_url: str | None) -> str | None:
    return full_url.rpartition("/ServiceRequest/")[0] or None if full_url and full_url.startswith("http") else None


def _note(document: Document, raw: Json, request: Located) -> str | None:
    texts = [n.get("text") or "" for n in raw.get("note") or [] if n] + [raw.get("patientInstruction") or ""]
    text = "\n".join(t for t in texts if t)
    if len(text) > MAX_NOTE:
        cut = f"the first {MAX_NOTE} characters are kept"
        document.asides.append(Issue(f"{request.path}.note", "too-long", cut, "warning"))
    return text[:MAX_NOTE] or None
