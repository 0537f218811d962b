"""The consent basis of a FHIR referral; reasons in docs/decisions/0020-consent-basis-of-a-fhir-referral.md."""

from collections.abc import Sequence
from typing import Any

from contracts.vocabulary import ProblemArea
from intake.fhir.codes import PURPOSES, codings
from intake.fhir.document import Document, Json, Located
from intake.fhir.times import last_day

STATED = "urn:rapport:consent-basis"
"""Extension of a ServiceRequest by which a sender states the basis itself, as the other doors let it."""
_RANK = ("written-consent", "verbal-consent", "treatment")


def basis_of(
    document: Document, request: Located, client: Located, found: Sequence[ProblemArea], emergency: bool
) -> tuple[Json | None, str]:
    """The basis, or None when there is none, and the FHIRPath of what decided it."""
    stated = _stated(document.read(request))
    if stated:
        return {"kind": stated}, f"{request.path}.extension"
    consents = [c for c in document.of("Consent") if _is_about(document, c, client)]
    if not consents:
        return _inferred(found, emergency), f"{request.path}.supportingInfo"
    given = [(basis, c.path) for c in consents if (basis := _given(document.read(c)))]
    given.sort(key=lambda basis_and_path: _RANK.index(basis_and_path[0]["kind"]))
    if not given or ("substance-use" in found and given[0][0]["kind"] != "written-consent"):
        return None, consents[0].path
    return given[0]


def _inferred(found: Sequence[ProblemArea], emergency: bool) -> Json | None:
    """Without a word about consent: treatment (45 CFR 164.506(c)), but nothing is inferred for substance use (42 CFR 2.31)."""
    if emergency:
        return {"kind": "emergency"}
    return None if "substance-use" in found else {"kind": "treatment"}


def _is_about(document: Document, consent: Located, client: Located) -> bool:
    patient = document.read(consent).get("patient")
    return document.resolve(patient, consent) in (None, client)


def _given(consent: Json) -> Json | None:
    provision = consent.get("provision") or {}
    policy = {code for code, _ in codings([consent.get("policyRule")])}
    if consent.get("status") != "active" or provision.get("type") == "deny" or any(c.startswith("OPTOUT") for c in policy):
        return None
    purposes = sorted({PURPOSES[p["code"]] for p in provision.get("purpose") or [] if p and p.get("code") in PURPOSES})
    basis: dict[str, Any] = {"kind": _kind(consent, policy), "expires": last_day((provision.get("period") or {}).get("end"))}
    return basis | {"purposes": purposes} if purposes else basis


def _kind(consent: Json, policy: set[str]) -> str:
    if consent.get("sourceAttachment") or consent.get("sourceReference"):
        return "written-consent"
    return "treatment" if policy & {"IMPLIED", "IMPLIEDD"} else "verbal-consent"


def _stated(request: Json) -> Any:
    extensions = (e for e in request.get("extension") or [] if e and e.get("url") == STATED)
    return next((e.get("valueCode") for e in extensions), None)
