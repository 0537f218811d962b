"""Codes of diagnoses and requests in our vocabulary: ICD-10-CM chapters, and the SNOMED CT concepts seen most.

What is not listed is `unspecified`: a need that is not ours to name is no reason to refuse somebody.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from contracts.vocabulary import ProblemArea, Urgency

_ICD_10 = ("http://hl7.org/fhir/sid/icd-10", "urn:oid:2.16.840.1.113883.6.90", "urn:oid:2.16.840.1.113883.6.3")
_SNOMED = ("http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96")

_BY_ICD_10: tuple[tuple[str, ProblemArea], ...] = (
    *((f"F1{n}", "substance-use") for n in range(10)),
    *((f"F2{n}", "psychosis") for n in range(10)),
    ("F30", "bipolar"), ("F31", "bipolar"), ("F32", "depression"), ("F33", "depression"), ("F341", "depression"),
    ("F40", "anxiety"), ("F41", "anxiety"), ("F430", "trauma"), ("F431", "trauma"), ("F4381", "grief"), ("F50", "eating"),
    ("Z634", "grief"), ("Z62", "family"), ("Z63", "family"),
    ("R45851", "crisis"), ("T1491", "crisis"), *((f"X{n}", "crisis") for n in range(71, 84)),
)  # fmt: skip

_SNOMED_BY_AREA: dict[ProblemArea, str] = {
    "depression": "35489007 370143000 36923009 66344007 310495003 310496002 310497006 78667006",
    "anxiety": "197480006 48694002 21897009 371631005 25501002",
    "trauma": "47505003 67195008",
    "psychosis": "58214004 69322001 68890003",
    "bipolar": "13746004 371596008 83225003",
    "eating": "72366004 56882008 78004001 439960005",
    "substance-use": "66214007 7200002 15167005 66590003 191816009 75544000 5602001 26416006",
    "crisis": "6471006 267073005 82313006",
}
_BY_SNOMED = {code: area for area, codes in _SNOMED_BY_AREA.items() for code in codes.split()}

URGENCY: dict[str, Urgency] = {"stat": "emergency", "asap": "urgent", "urgent": "urgent", "routine": "routine"}
"""FHIR request-priority, where `asap` is more than `urgent`; neither is an emergency."""

PURPOSES = {
    "TREAT": "treatment", "COC": "treatment", "CAREMGT": "treatment", "ETREAT": "treatment", "HPAYMT": "payment",
    "HOPERAT": "operations", "HRESCH": "research",
}  # fmt: skip
"""HL7 v3 PurposeOfUse in the words of a consent basis."""


def areas(concepts: Iterable[Any]) -> Iterator[ProblemArea]:
    """The problem areas that CodeableConcepts name, in their order."""
    for code, system in codings(concepts):
        found = _area(code, system)
        if found:
            yield found


def codings(concepts: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """(code, system) of every coding that has a code."""
    for concept in concepts:
        for coding in (concept or {}).get("coding") or []:
            if coding and coding.get("code"):
                yield coding["code"], coding.get("system") or ""


def _area(code: str, system: str) -> ProblemArea | None:
    if system.startswith(_ICD_10):
        plain = code.upper().replace(".", "")
        return next((area for prefix, area in _BY_ICD_10 if plain.startswith(prefix)), None)
    return _BY_SNOMED.get(code) if system.startswith(_SNOMED) else None
