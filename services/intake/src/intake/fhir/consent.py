"""The consent basis of a FHIR referral; reasons in docs/decisions/0020-consent-basis-of-a-fhir-referral.md."""

from collections.abc import Iterator, Sequence
from typing import Any

from contracts.vocabulary import ProblemArea
from intake.fhir.codes import PURPOSES, codings
from intake.fhir.document import Document, Json, Located
from intake.fhir.times import last_day

STATED = "urn:rapport:consent-basis"
"""Extension of a ServiceRequest by which a sender states the basis itself, as the other doors let it."""
_RANK = ("written-consent", "verbal-consent", "treatment")
_SCOPES = {"patient-privacy", "treatment"}


def basis_of(
    document: Document, request: Located, client: Located, found: Sequence[ProblemArea], emergency: bool
) -> tuple[Json | None, str]:
    """The basis, or None when there is none, and the FHIRPath of what decided it."""
    stated = _stated(document.read(request))
    if stated:
        return {"kind": stated}, f"{request.path}.extension"
    consents = [c for c in document.of("Consent") if _is_about(document, c, client, request) and _is_of_care(document.read(c))]
    if not consents:
        return _inferred(found, emergency), f"{request.path}.supportingInfo"
    if refusal := next((c for c in consents if _refuses(document.read(c))), None):
        return None, refusal.path
    given = [(basis, c.path) for c in consents if (basis := _given(document.read(c)))]
    given.sort(key=lambda basis_and_path: _RANK.index(basis_and_path[0]["kind"]))
    if not given or ("substance-use" in found and given[0][0]["kind"] != "written-consent"):
        return ({"kind": "emergency"} if emergency else None), consents[0].path
    return given[0]


def _inferred(found: Sequence[ProblemArea], emergency: bool) -> Json | None:
    """Without a word about consent: treatment (45 CFR 164.506(c)), but nothing is inferred for substance use (42 CFR 2.31)."""
    if emergency:
        return {"kind": "emergency"}
    return None if "substance-use" in found else {"kind": "treatment"}


def _is_about(document: Document, consent: Located, client: Located, request: Located) -> bool:
    """About nobody whom we can resolve, it counts for the request that contains it, or where there is one client only."""
    about = document.resolve(document.read(consent).get("patient"), consent)
    alone = consent.container == request or len(list(document.of("Patient"))) <= 1
    return about == client or (about is None and alone)


def _is_of_care(consent: Json) -> bool:
    """A consent to research, or an advance directive, says nothing about a referral."""
    scopes = {code for code, _ in codings([consent.get("scope")])}
    return not scopes or bool(scopes & _SCOPES)


def _refuses(consent: Json) -> bool:
    """An active refusal outweighs every consent; an exclusion that we cannot map to our recipients is a refusal too."""
    denies = any(provision.get("type") == "deny" for provision in _provisions(consent.get("provision")))
    return consent.get("status") == "active" and (denies or any(code.startswith("OPTOUT") for code in _policy(consent)))


def _provisions(provision: Json | None) -> Iterator[Json]:
    if provision:
        yield provision
        for nested in provision.get("provision") or []:
            yield from _provisions(nested)


def _policy(consent: Json) -> set[str]:
    return {code for code, _ in codings([consent.get("policyRule")])}


def _given(consent: Json) -> Json | None:
    provision = consent.get("provision") or {}
    asked = provision.get("purpose") or []
    purposes = sorted({PURPOSES[p["code"]] for p in asked if p and p.get("code") in PURPOSES})
    if consent.get("status") != "active" or (asked and not purposes):
        return None
    expires = last_day((provision.get("period") or {}).get("end"))
    basis: dict[str, Any] = {"kind": _kind(consent, _policy(consent)), "expires": expires}
    return basis | {"purposes": purposes} if purposes else basis


def _kind(consent: Json, policy: set[str]) -> str:
    if consent.get("sourceAttachment") or consent.get("sourceReference"):
        return "written-consent"
    return "treatment" if policy & {"IMPLIED", "IMPLIEDD"} else "verbal-consent"


def _stated(request: Json) -> Any:
    extensions = (e for e in request.get("extension") or [] if e and e.get("url") == STATED)
    return next((e.get("valueCode") for e in extensions), None)
