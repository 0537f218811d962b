"""One FHIR payload: its resources with their places, references between them, and each one's shape checked when it is used."""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from intake.fhir.issues import FhirRefused, Issue, refuse

Json = dict[str, Any]
_NAME = re.compile(r"[A-Za-z_]{1,40}")
_READ_ASIDE = ("contained", "text")


@dataclass(frozen=True, slots=True)
class Located:
    """A resource as it was sent, where it stands in the payload, and the resource that contains it."""

    raw: Json
    path: str
    full_url: str | None = None
    container: "Located | None" = None

    @property
    def kind(self) -> str:
        name = self.raw.get("resourceType")
        return name if isinstance(name, str) else ""

    @property
    def id(self) -> str | None:
        value = self.raw.get("id")
        return value if isinstance(value, str) and value else None


@dataclass(slots=True)
class Document:
    """All resources of one payload, and what was passed over while reading them."""

    located: list[Located]
    asides: list[Issue] = field(default_factory=list)
    _checked: dict[str, Json] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def of(self, kind: str) -> Iterator[Located]:
        return (resource for resource in self.located if resource.kind == kind)

    def resolve(self, reference: Any, origin: Located) -> Located | None:
        """The resource a Reference means: contained, by full URL, by its address, or by business identifier."""
        if not isinstance(reference, dict):
            return None
        address = reference.get("reference")
        if not isinstance(address, str) or not address:
            return self._by_identifier(reference.get("identifier"))
        if address.startswith("#"):
            owner = origin.container or origin
            return next((r for r in self.located if r.container == owner and r.id == address[1:]), None)
        address = address.split("/_history/")[0]
        return next((r for r in self.located if r.container is None and r.full_url == address), None) or self._by_id(address)

    def _by_id(self, address: str) -> Located | None:
        kind, _, key = address.removeprefix("urn:uuid:").rpartition("/")
        kind = kind.rpartition("/")[2]
        found = (r for r in self.located if r.container is None and kind in ("", r.kind))
        return next((r for r in found if key and key in (r.id, _last(r.full_url))), None)

    def _by_identifier(self, identifier: Any) -> Located | None:
        if not isinstance(identifier, dict) or not identifier.get("value"):
            return None
        wanted = (identifier.get("system"), identifier["value"])
        return next((r for r in self.located if wanted in _identifiers(r.raw)), None)

    def use(self, resource: Located) -> Located:
        """Notes that the resource belongs to a referral."""
        self._used.add(resource.path)
        return resource

    def was_used(self, path: str) -> bool:
        """True when the resource there had a part in a referral."""
        return path in self._checked or path in self._used

    def read(self, resource: Located) -> Json:
        """The resource in the shape FHIR R4 gives it, without what it does not know; raises FhirRefused with each place."""
        if resource.path not in self._checked:
            raw = {name: value for name, value in resource.raw.items() if name not in _READ_ASIDE}
            self._checked[resource.path] = self._conforming(raw, resource)
        return self._checked[resource.path]

    def _conforming(self, raw: Json, resource: Located) -> Json:
        if raw.get("modifierExtension"):
            path = f"{resource.path}.modifierExtension"
            raise refuse(path, "not-supported", "a modifier extension that is not understood may turn the meaning round")
        errors = _errors(resource.kind, raw, resource.path)
        unknown = [error for error in errors if error["type"] == "extra_forbidden"]
        if unknown:
            raw = deepcopy(raw)
            self.asides += [_set_aside(raw, resource.path, error["loc"]) for error in unknown]
            errors = _errors(resource.kind, raw, resource.path)
        if errors:
            raise FhirRefused(*(_issue(resource.path, error) for error in errors))
        return raw


def document_of(body: Any, lenient: bool = False) -> Document:
    """The resources of a Bundle, or of one resource with what it contains; raises FhirRefused when it is no FHIR JSON.

    `lenient` leaves out entries without a resource.
    """
    if not isinstance(body, dict) or not isinstance(body.get("resourceType"), str):
        raise refuse("Resource", "structure", "one FHIR resource in JSON with its resourceType is expected")
    if body["resourceType"] != "Bundle":
        return Document(list(_with_contained(Located(body, _name_of(body)))))
    return Document([r for entry in _entries(body, lenient) for r in _with_contained(entry)])


def _entries(bundle: Json, lenient: bool) -> Iterator[Located]:
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise refuse("Bundle.entry", "structure", "a list is expected")
    for i, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            url = entry.get("fullUrl")
            yield Located(resource, f"Bundle.entry[{i}].resource", url if isinstance(url, str) else None)
        elif not lenient:
            raise refuse(f"Bundle.entry[{i}].resource", "required", "a resource is expected in each entry")


def _with_contained(resource: Located) -> Iterator[Located]:
    yield resource
    inner = resource.raw.get("contained")
    for i, contained in enumerate(inner if isinstance(inner, list) else []):
        if isinstance(contained, dict):
            yield Located(contained, f"{resource.path}.contained[{i}]", container=resource)


def _name_of(body: Json) -> str:
    return body["resourceType"] if _NAME.fullmatch(body["resourceType"]) else "Resource"


def _last(url: str | None) -> str | None:
    return url.removeprefix("urn:uuid:").rpartition("/")[2] if url else None


def _identifiers(raw: Json) -> list[tuple[Any, Any]]:
    found = raw.get("identifier")
    return [(i.get("system"), i.get("value")) for i in (found if isinstance(found, list) else []) if isinstance(i, dict)]


@cache
def _model(kind: str) -> Any:
    return get_fhir_model_class(kind)


def _errors(kind: str, raw: Json, path: str) -> list[Any]:
    try:
        return _found(kind, raw)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        raise refuse(path, "structure", "does not have the shape FHIR R4 gives it") from None


def _found(kind: str, raw: Json) -> list[Any]:
    try:
        read = json.loads(_model(kind).model_validate(raw).model_dump_json())
    except ValidationError as error:
        return list(error.errors(include_input=False, include_url=False, include_context=False))
    return [{"type": "json_type", "loc": where} for where in _bent(raw, read)]


def _bent(raw: Any, read: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the models took a number for a date, or a text for a number, which JSON FHIR does not allow."""
    if isinstance(raw, dict) and isinstance(read, dict):
        for name in raw.keys() & read.keys():
            yield from _bent(raw[name], read[name], (*where, name))
    elif isinstance(raw, list) and isinstance(read, list):
        for i, (before, after) in enumerate(zip(raw, read, strict=False)):
            yield from _bent(before, after, (*where, i))
    elif any(isinstance(raw, kind) != isinstance(read, kind) for kind in (str, bool)):
        yield where


def _set_aside(raw: Json, path: str, where: tuple[str | int, ...]) -> Issue:
    parent: Any = raw
    for step in where[:-1]:
        parent = parent[step]
    parent.pop(where[-1], None)
    return Issue(_place(path, where), "informational", "not an element of FHIR R4; kept aside", "warning")


def _issue(path: str, error: Mapping[str, Any]) -> Issue:
    if error["type"] == "missing":
        return Issue(_place(path, error["loc"]), "required", "is required")
    return Issue(_place(path, error["loc"]), "structure", "does not have the shape FHIR R4 gives it")


def _place(path: str, where: tuple[str | int, ...]) -> str:
    for step in where:
        if isinstance(step, str) and not _NAME.fullmatch(step):
            break
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path
