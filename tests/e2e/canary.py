"""Canary identities: every word of one can be told from anything else, and says from which payload it came."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from tests.e2e.payloads import Json, referral, resource, transaction

BORN = "1971-03-09"
PLANTED = 999
_PHONE = "5550199"
_STEM = b"canary"
# The ways in which base64 spells the stem, by where it begins, without the characters that its neighbours share.
_BASE64 = [
    base64.b64encode(b"-" * n + stem + b"--")[-(-n * 8 // 6) : (n + len(stem)) * 8 // 6]
    for stem in (_STEM, _STEM.title())
    for n in (0, 1, 2)
]
_HEX = re.compile(rb"[46]3616e617279(?:[67][0-9a-f])+(?:3[0-9]){3}")
_SEEN = re.compile(
    rb"(?P<word>canary(?P<part>[a-z]+)(?P<number>\d{3}))|" + _PHONE.encode() + rb"(?P<phone>\d{3})|(?P<other>canary|"
    + BORN.encode() + rb")", re.IGNORECASE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Canary:
    """One invented client, whose number is in every word of the identity."""

    number: int

    def word(self, part: str) -> str:
        """A word for a part of the identity, such as `family`; letters and digits, so that no encoding changes it."""
        return f"Canary{part}{self.number:03d}"

    @property
    def phone(self) -> str:
        return f"+1 {_PHONE}{self.number:03d}"

    def referral(self, **changes: Any) -> Json:
        """A referral of this client that is taken as it stands."""
        client = {
            "record_number": self.word("record"), "family_name": self.word("family"), "given_name": self.word("given"),
            "birth_date": BORN, "phone": self.phone, "email": f"{self.word('mail')}@example.org",
            "address": f"17 {self.word('address')} Lane",
        }  # fmt: skip
        return referral(f"R-{self.number:03d}", client=client, note=f"Says that {self.word('note')} sings.", **changes)

    def bundle(self, **changes: Any) -> Json:
        """The same as a FHIR transaction, with free text wherever FHIR has room for it."""
        bundle = transaction(self.referral(**changes))
        resource(bundle, "Patient").update(
            telecom=[
                {"system": "phone", "value": self.phone},
                {"system": "email", "value": f"{self.word('mail')}@example.org"},
            ],
            address=[{"line": [f"17 {self.word('address')} Lane"], "city": self.word("city"), "state": "NY"}],
            text={"status": "generated", "div": f"<div>{self.word('narrative')}</div>"},
            contact=[{"name": {"family": self.word("contact")}}],
            extension=[{"url": "urn:test:of-their-own", "valueString": self.word("extension")}],
        )
        resource(bundle, "ServiceRequest").update(
            reasonCode=[{"text": self.word("reason")}], code={"text": self.word("code")},
            patientInstruction=self.word("instruction"),
        )  # fmt: skip
        resource(bundle, "Condition")["code"]["text"] = self.word("condition")
        answers = {
            "resourceType": "QuestionnaireResponse", "status": "completed",
            "item": [{"linkId": "1", "text": self.word("question"), "answer": [{"valueString": self.word("answer")}]}],
        }  # fmt: skip
        request = {"method": "POST", "url": "QuestionnaireResponse"}
        bundle["entry"].append({"fullUrl": "urn:demo:answers", "resource": answers, "request": request})
        return bundle


@dataclass(frozen=True, slots=True)
class Found:
    """A word of a canary, and from which canary."""

    word: str
    number: int | None


def found_in(text: bytes) -> Iterator[Found]:
    """Every word of a canary in these bytes: as it is, in hexadecimal as PostgreSQL shows bytes, or in base64."""
    yield from _plain(text)
    for stem in _BASE64:
        if stem in text:
            yield Found(f"base64 {stem.decode()}", None)
    for word in _HEX.findall(text):
        yield from _plain(bytes.fromhex(word.decode()))


def _plain(text: bytes) -> Iterator[Found]:
    for seen in _SEEN.finditer(text):
        number = seen["number"] or seen["phone"]
        yield Found(seen[0].decode(), int(number) if number else None)


Break = Callable[[Canary, Json], Any]


def _client(**changes: Callable[[Canary], Any]) -> Break:
    """The client with some members replaced."""
    return lambda canary, data: data | {"client": data["client"] | {name: make(canary) for name, make in changes.items()}}


def _top(**changes: Callable[[Canary], Any]) -> Break:
    return lambda canary, data: data | {name: make(canary) for name, make in changes.items()}


def _text(canary: Canary, part: str = "broken") -> str:
    return canary.word(part)


# What integrators get wrong, each with a word of the identity in the place that provokes the error.
BROKEN: dict[str, Break] = {
    "a name is an object": _client(family_name=lambda c: {_text(c, "key"): _text(c)}),
    "a name is a list": _client(family_name=lambda c: [_text(c)]),
    "a name is too long": _client(family_name=lambda c: _text(c) * 30),
    "a name has a control character": _client(family_name=lambda c: f"{_text(c)}\x07"),
    "a name has U+0000": _client(given_name=lambda c: f"{_text(c)}\x00"),
    "a name has half a surrogate": _client(given_name=lambda c: f"{_text(c)}\ud800"),
    "a record number is too long": _client(record_number=lambda c: _text(c) * 30),
    "a record number is an object": _client(record_number=lambda c: {"value": _text(c)}),
    "a birth date is a text": _client(birth_date=_text),
    "a birth date is in the future": _client(birth_date=lambda _: "2199-01-01"),
    "a phone number is too long": _client(phone=lambda c: c.phone * 9),
    "an e-mail address is a list": _client(email=lambda c: [_text(c)]),
    "an address is too long": _client(address=lambda c: _text(c) * 60),
    "a note is too long": _top(note=lambda c: _text(c) * 2000),
    "a note is an object": _top(note=lambda c: {_text(c, "key"): _text(c)}),
    "the client is a text": _top(client=_text),
    "the client is a list": _top(client=lambda c: [_text(c)]),
    "the client is missing": lambda c, data: {n: v for n, v in data.items() if n != "client"} | {_text(c, "key"): _text(c)},
    "the need is a text": _top(need=_text),
    "a problem area is a text": _top(need=lambda c: {"problem_area": _text(c)}),
    "a language is a name": _top(need=lambda c: {"problem_area": "anxiety", "language": _text(c)}),
    "a place is an address": _top(need=lambda c: {"problem_area": "anxiety", "place": f"{_text(c)} lane"}),
    "an approach is a text": _top(need=lambda c: {"problem_area": "anxiety", "preferences": {"approach": f"{_text(c)}!"}}),
    "a kind of consent is a text": _top(consent=lambda c: {"kind": _text(c)}),
    "a purpose is a text": _top(consent=lambda c: {"kind": "treatment", "purposes": [f"{_text(c)} !"]}),
    "a recipient is a name": _top(consent=lambda c: {"kind": "treatment", "recipients": [_text(c)]}),
    "a deadline is a text": _top(respond_by=_text),
    "the assigner is an object": _top(assigner=lambda c: {"name": _text(c)}),
    "the identifier is missing": lambda _, data: {n: v for n, v in data.items() if n != "identifier"},
    "no consent basis": _top(consent=lambda _: None),
    "a deadline in the past": _top(respond_by=lambda _: "2020-01-01T00:00:00Z"),
    "an expired consent": _top(consent=lambda _: {"kind": "treatment", "expires": "2020-01-01"}),
    "the payload is a list": lambda _, data: [data],
    "the payload is a text": lambda c, _: _text(c),
}
# Members that nobody knows are passed over, so these are taken.
GROWN: dict[str, Break] = {
    "unknown members": lambda c, data: data | {_text(c, "key"): _text(c, "extra"), "x": {"y": [_text(c, "deep")]}},
    "unknown members of the client": _client(nickname=lambda c: _text(c, "extra"), x=lambda c: {_text(c, "key"): 1}),
    "unknown members of the need": _top(need=lambda c: {"problem_area": "grief", "place": "NY", _text(c, "key"): _text(c)}),
}


def _in(kind: str, **changes: Callable[[Canary], Any]) -> Break:
    """A Bundle in which some elements of the first resource of this kind are replaced."""

    def broken(canary: Canary, bundle: Json) -> Json:
        changed = deepcopy(bundle)
        resource(changed, kind).update({name: make(canary) for name, make in changes.items()})
        return changed

    return broken


def _renamed(bundle: Json, old: str, new: str) -> Any:
    return json.loads(json.dumps(bundle).replace(old, new))


FHIR_BROKEN: dict[str, Break] = {
    "a Patient without identifier": _in("Patient", identifier=lambda _: []),
    "a birth date is a text": _in("Patient", birthDate=_text),
    "a birth date is missing": _in("Patient", birthDate=lambda _: None),
    "a name is a text": _in("Patient", name=_text),
    "a name is an object": _in("Patient", name=lambda c: {_text(c, "key"): _text(c)}),
    "a name has U+0000": _in("Patient", name=lambda c: [{"family": f"{_text(c)}\x00", "given": ["Jo"]}]),
    "a name has half a surrogate": _in("Patient", name=lambda c: [{"family": f"{_text(c)}\ud800", "given": ["Jo"]}]),
    "a name is too long": _in("Patient", name=lambda c: [{"family": _text(c) * 30, "given": ["Jo"]}]),
    "a gender is a text": _in("Patient", gender=_text),
    "a telecom system is a text": _in("Patient", telecom=lambda c: [{"system": _text(c), "value": c.phone}]),
    "a telecom is a text": _in("Patient", telecom=lambda c: c.phone),
    "a phone number is too long": _in("Patient", telecom=lambda c: [{"system": "phone", "value": c.phone * 9}]),
    "an address is a text": _in("Patient", address=_text),
    "a record number is an object": _in("Patient", identifier=lambda c: [{"value": {_text(c, "key"): _text(c)}}]),
    "a modifier extension": _in("Patient", modifierExtension=lambda c: [{"url": _text(c, "url"), "valueString": _text(c)}]),
    "a resource of an invented kind": _in("Patient", resourceType=_text),
    "an unknown language": _in("Patient", communication=lambda c: [{"language": {"text": _text(c), "coding": _text(c)}}]),
    "a priority is a text": _in("ServiceRequest", priority=_text),
    "a status is a text": _in("ServiceRequest", status=_text),
    "a subject that is nowhere": _in("ServiceRequest", subject=lambda c: {"reference": f"Patient/{_text(c)}"}),
    "a subject is a text": _in("ServiceRequest", subject=_text),
    "a note is a text": _in("ServiceRequest", note=_text),
    "a note holds an object": _in("ServiceRequest", note=lambda c: [{"text": {_text(c, "key"): _text(c)}}]),
    "a date is a text": _in("ServiceRequest", authoredOn=_text),
    "a condition is a text": _in("Condition", code=_text),
    "a consent is denied": _in("Consent", provision=lambda _: {"type": "deny"}),
    "a consent's policy is a text": _in("Consent", policyRule=_text),
    "a consent's period is a text": _in("Consent", provision=lambda c: {"period": {"end": _text(c)}}),
    "the entries are a text": lambda c, bundle: bundle | {"entry": _text(c)},
    "an entry is a text": lambda c, bundle: bundle | {"entry": [*bundle["entry"], _text(c)]},
    "a method is a text": lambda c, bundle: (
        bundle | {"entry": [e | {"request": {"method": _text(c)}} for e in bundle["entry"]]}
    ),
    "the type is a text": lambda c, bundle: bundle | {"type": _text(c)},
}
FHIR_GROWN: dict[str, Break] = {
    "a request without identifier": lambda c, bundle: _renamed(
        _in("ServiceRequest", identifier=lambda _: [])(c, bundle),
        "urn:demo:request",
        uuid5(NAMESPACE_OID, c.word("request")).urn,
    ),
    "an address with the record number": lambda c, bundle: _renamed(
        bundle, "urn:demo:patient", f"https://demo.example/Patient/{c.word('record')}"
    ),
    "unknown elements of the Patient": _in("Patient", nickname=lambda c: {_text(c, "key"): _text(c, "extra")}),
    "unknown elements of the request": _in("ServiceRequest", nickname=lambda c: _text(c, "extra")),
}
