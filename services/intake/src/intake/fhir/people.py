"""A FHIR Patient as the client of a referral."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from intake.fhir.codes import codings
from intake.fhir.document import Json
from intake.fhir.issues import FhirRefused, Issue

NO_SUCH_NAME = "-"
"""Some people have one name only; a referral is not refused for it."""
_STATE = re.compile(r"([A-Z]{2}-)?[A-Z0-9]{1,3}")


def client_of(patient: Json, path: str) -> Json:
    """The fields of a ClientIdentity; raises FhirRefused naming each element that is missing."""
    number, name, born = record_number(patient), _name(patient), _birth_date(patient)
    missing = [
        Issue(f"{path}.identifier", "required", "a record number of the client is needed to tell clients apart"),
        Issue(f"{path}.name", "required", "a name is needed"),
        Issue(f"{path}.birthDate", "required", "a full date, YYYY-MM-DD, is needed"),
    ]
    problems = [issue for issue, value in zip(missing, (number, name, born), strict=True) if not value]
    if problems or not number or not name:
        raise FhirRefused(*problems)
    return {
        "record_number": number["value"], "family_name": name[0], "given_name": name[1], "birth_date": born,
        "phone": _telecom(patient, "phone"), "email": _telecom(patient, "email"), "address": _address(patient),
    }  # fmt: skip


def record_number(patient: Json) -> Json | None:
    """The identifier that is most likely the sender's record number: of type MR, else official or usual, else the first."""
    return _first(
        _valued(patient.get("identifier")),
        lambda i: "MR" in {code for code, _ in codings([i.get("type")])},
        lambda i: i.get("use") in ("official", "usual"),
    )


def language_of(patient: Json) -> str:
    """The preferred language, else the first one named, else English."""
    spoken = [c for c in patient.get("communication") or [] if c]
    spoken.sort(key=lambda c: not c.get("preferred"))
    found = [code for code, _ in codings(c.get("language") for c in spoken)]
    short = (code.replace("_", "-").split("-")[0].lower() for code in found)
    return next((code for code in short if re.fullmatch("[a-z]{2,3}", code)), "en")


def place_of(patient: Json) -> str:
    """The state's code; anything else that stands there could be free text and is left out."""
    states = ((address.get("state") or "").strip().upper() for address in _current(patient.get("address")))
    return next((state for state in states if _STATE.fullmatch(state)), "unspecified")


def _name(patient: Json) -> tuple[str, str] | None:
    name = _first(
        [n for n in _current(patient.get("name")) if n.get("family") or n.get("given") or n.get("text")],
        lambda n: n.get("use") == "official",
        lambda n: n.get("use") in (None, "usual"),
    )
    if name is None:
        return None
    given = " ".join(part for part in name.get("given") or [] if part)
    if name.get("family") or given:
        return name.get("family") or NO_SUCH_NAME, given or NO_SUCH_NAME
    first, _, last = name["text"].strip().rpartition(" ")
    return last or NO_SUCH_NAME, first or NO_SUCH_NAME


def _birth_date(patient: Json) -> date | None:
    try:
        return date.fromisoformat(patient.get("birthDate") or "")
    except ValueError:
        return None


def _telecom(patient: Json, system: str) -> str | None:
    """The best-ranked one; some senders keep the client's own numbers under the contact that is the client (NHS BaRS)."""
    oneself = [c for c in patient.get("contact") or [] if c and _is_oneself(c)]
    points = [*_current(patient.get("telecom")), *(t for c in oneself for t in _current(c.get("telecom")))]
    points = [p for p in points if p.get("system") == system and p.get("value")]
    points.sort(key=lambda p: p.get("rank") or 99)
    return points[0]["value"] if points else None


def _is_oneself(contact: Json) -> bool:
    return bool({code.upper() for code, _ in codings(contact.get("relationship") or [])} & {"ONESELF", "SELF"})


def _address(patient: Json) -> str | None:
    address = next(iter(_current(patient.get("address"))), {})
    parts = [*(address.get("line") or []), *(address.get(p) for p in ("city", "district", "state", "postalCode", "country"))]
    return address.get("text") or ", ".join(part for part in parts if part) or None


def _current(periods: Any) -> list[Json]:
    """Those that have not ended, or all when each has."""
    known = [p for p in periods or [] if p]
    return [p for p in known if not (p.get("period") or {}).get("end")] or known


def _valued(identifiers: Any) -> list[Json]:
    return [i for i in identifiers or [] if i and i.get("value")]


def _first(found: Sequence[Json], *wishes: Any) -> Json | None:
    wanted: Iterable[Json] = (item for wish in wishes for item in found if wish(item))
    return next(iter(wanted), found[0] if found else None)
