"""What the FHIR door understands of a payload, and that no payload can break it."""

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake.fhir.bundles import message, requests_of, single, transaction
from intake.fhir.issues import FhirRefused, Issue, operation_outcome
from intake.fhir.mapping import mapped

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "shared/cli/src/cli/samples/fhir"
REFUSED = ROOT / "tests/support/fhir"

Json = dict[str, Any]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def referrals(body: Any) -> list[Any]:
    kind = body.get("type") if isinstance(body, dict) else None
    if kind == "message":
        said = message(body)
        return [mapped(said.document, request, said.sender, lambda: "unnamed") for request in said.requests]
    if kind in ("transaction", "batch"):
        document = transaction(body, "transaction", "batch")
        return [mapped(document, request, None, lambda: "unnamed") for request in requests_of(document)]
    document, request = single(body)
    return [mapped(document, request, None, lambda: "unnamed")]


def refusal(body: Any) -> list[tuple[str, str]]:
    with pytest.raises(FhirRefused) as refused:
        referrals(body)
    return [(issue.expression, issue.kind) for issue in refused.value.issues]


@pytest.fixture
def sent() -> Any:
    return load(SAMPLES / "transaction.json")


def resource(body: Json, kind: str) -> Any:
    return next(e["resource"] for e in body["entry"] if e["resource"]["resourceType"] == kind)


def test_a_transaction_becomes_the_same_referral_that_the_other_doors_take(sent: Json) -> None:
    (one,) = referrals(sent)
    said = one.referral
    assert (said.assigner, said.identifier) == ("https://hospital.example/referrals", "SAMPLE-1001")
    assert (said.client.record_number, said.client.family_name, said.client.given_name) == ("S-77001", "Sample", "Ana M.")
    need = said.need
    assert (need.problem_area, need.urgency, need.language, need.place) == ("depression", "urgent", "es", "OR")
    assert (said.consent.kind, said.consent.expires.isoformat()) == ("written-consent", "2099-12-31")
    assert said.respond_by.isoformat() == "2099-12-31T23:59:59+00:00"
    assert said.note == "Prefers evenings."


def test_a_service_request_alone_brings_its_client_with_it() -> None:
    (one,) = referrals(load(SAMPLES / "service-request.json"))
    assert (one.referral.identifier, one.referral.client.family_name) == ("SAMPLE-1002", "Muster")
    assert (one.referral.need.problem_area, one.referral.consent.kind) == ("anxiety", "treatment")


def test_a_message_is_named_by_its_sender_and_its_focus() -> None:
    (one,) = referrals(load(SAMPLES / "message.json"))
    assert one.referral.assigner == "https://example.org/Id/service|S-1"
    assert one.referral.identifier.startswith("urn:uuid:")
    assert (one.referral.client.family_name, one.referral.client.given_name) == ("Beispiel", "Mx Robin")
    assert one.referral.client.phone == "555-0102"
    assert (one.referral.need.urgency, one.referral.consent.kind) == ("emergency", "treatment")


@pytest.mark.parametrize("reference", [
    "Patient/p-1", "https://hospital.example/fhir/Patient/p-1", "Patient/p-1/_history/3", "p-1",
])  # fmt: skip
def test_a_client_is_found_by_every_usual_form_of_reference(sent: Json, reference: str) -> None:
    resource(sent, "ServiceRequest")["subject"] = {"reference": reference}
    assert referrals(sent)[0].referral.client.record_number == "S-77001"


def test_a_client_is_found_by_full_url_and_by_business_identifier(sent: Json) -> None:
    sent["entry"][1]["fullUrl"] = "urn:uuid:11111111-1111-4111-8111-111111111111"
    for subject in (
        {"reference": "urn:uuid:11111111-1111-4111-8111-111111111111"},
        {"identifier": {"system": "https://hospital.example/mrn", "value": "S-77001"}},
    ):
        resource(sent, "ServiceRequest")["subject"] = subject
        assert referrals(sent)[0].referral.client.record_number == "S-77001"


def test_a_client_is_never_guessed(sent: Json) -> None:
    resource(sent, "ServiceRequest")["subject"] = {"reference": "Patient/somebody-else"}
    assert refusal(sent) == [("Bundle.entry[0].resource.subject", "not-found")]


def test_what_fhir_does_not_know_is_kept_aside_and_remarked(sent: Json) -> None:
    resource(sent, "ServiceRequest")["ofTheirOwn"] = {"deep": ["canary"]}
    resource(sent, "Patient")["name"][0]["nickname"] = "canary"
    document = transaction(sent, "transaction")
    mapped(document, next(requests_of(document)), None, lambda: "unnamed")
    assert [(aside.expression, aside.severity) for aside in document.asides] == [
        ("Bundle.entry[0].resource.ofTheirOwn", "warning"), ("Bundle.entry[1].resource.name[0].nickname", "warning"),
    ]  # fmt: skip


def test_a_need_outside_our_areas_is_unspecified(sent: Json) -> None:
    resource(sent, "Condition")["code"]["coding"][0]["code"] = "Z59.41"
    assert referrals(sent)[0].referral.need.problem_area == "unspecified"


@pytest.mark.parametrize(("code", "area"), [
    ("F10.20", "substance-use"), ("F20.9", "psychosis"), ("F31.81", "bipolar"), ("F32.A", "depression"),
    ("F41.1", "anxiety"), ("F43.12", "trauma"), ("F50.2", "eating"), ("Z63.4", "grief"), ("Z63.0", "family"),
    ("R45.851", "crisis"), ("E11.9", "unspecified"),
])  # fmt: skip
def test_icd_10_codes_name_the_problem_area(sent: Json, code: str, area: str) -> None:
    resource(sent, "Condition")["code"]["coding"][0]["code"] = code
    assert referrals(sent)[0].referral.need.problem_area == area


@pytest.mark.parametrize(("priority", "urgency"), [
    ("stat", "emergency"), ("asap", "urgent"), ("urgent", "urgent"), ("routine", "routine"),
])  # fmt: skip
def test_the_priority_is_the_urgency(sent: Json, priority: str, urgency: str) -> None:
    resource(sent, "ServiceRequest")["priority"] = priority
    assert referrals(sent)[0].referral.need.urgency == urgency


def test_the_more_urgent_of_request_and_task_counts(sent: Json) -> None:
    resource(sent, "Task")["priority"] = "stat"
    assert referrals(sent)[0].referral.need.urgency == "emergency"


def test_without_a_consent_resource_treatment_is_the_basis_but_never_for_substance_use() -> None:
    body = load(REFUSED / "substance-use-without-consent.json")
    assert referrals(body)[0].referral.consent is None
    assert referrals(body)[0].expression("/consent") == "Bundle.entry[0].resource.supportingInfo"
    resource(body, "Condition")["code"]["coding"][0]["code"] = "F41.1"
    assert referrals(body)[0].referral.consent.kind == "treatment"


def test_a_denied_consent_is_no_basis_whatever_else_holds() -> None:
    (one,) = referrals(load(REFUSED / "consent-denied.json"))
    assert one.referral.consent is None
    assert one.expression("/consent") == "Bundle.entry[5].resource"


def _nested_deny(consent: Json) -> None:
    consent["provision"] = {"provision": [{"type": "deny"}]}


def _unknown_purpose(consent: Json) -> None:
    consent["provision"] = {"purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HMARKT"}]}


def _of_research(consent: Json) -> None:
    consent["scope"] = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]}


def _of_nobody_among_two(consent: Json) -> None:
    consent.pop("patient")


@pytest.mark.parametrize("change", [_nested_deny, _unknown_purpose, _of_research, _of_nobody_among_two])
def test_a_consent_that_excludes_or_is_about_something_else_is_no_basis_for_substance_use(sent: Json, change: Any) -> None:
    condition = resource(sent, "Condition")
    condition["code"] = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F11.20"}]}
    assert referrals(sent)[0].referral.consent.kind == "written-consent"
    other = copy.deepcopy(next(e for e in sent["entry"] if e["resource"]["resourceType"] == "Patient"))
    other["fullUrl"] = "urn:uuid:0e0e0e0e-0000-4000-8000-000000000001"
    other["resource"]["identifier"][0]["value"] = "another"
    sent["entry"].append(other)
    change(resource(sent, "Consent"))
    assert referrals(sent)[0].referral.consent is None


def test_a_refusal_outweighs_another_consent(sent: Json) -> None:
    refusal = copy.deepcopy(next(e for e in sent["entry"] if e["resource"]["resourceType"] == "Consent"))
    refusal["fullUrl"] = "urn:uuid:0e0e0e0e-0000-4000-8000-000000000002"
    refusal["resource"]["provision"] = {"provision": [{"type": "deny"}]}
    sent["entry"].append(refusal)
    assert referrals(sent)[0].referral.consent is None


def test_an_emergency_is_not_turned_away_because_a_weaker_consent_was_sent_along(sent: Json) -> None:
    condition, consent = resource(sent, "Condition"), resource(sent, "Consent")
    condition["code"] = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F11.20"}]}
    for document in ("sourceAttachment", "sourceReference"):
        consent.pop(document, None)
    assert referrals(sent)[0].referral.consent is None
    resource(sent, "ServiceRequest")["priority"] = "stat"
    assert referrals(sent)[0].referral.consent.kind == "emergency"


def test_a_request_without_an_identifier_is_known_by_its_address(sent: Json) -> None:
    del resource(sent, "ServiceRequest")["identifier"]
    (one,) = referrals(sent)
    assert (one.referral.assigner, one.referral.identifier) == ("https://hospital.example/fhir", "ServiceRequest/sr-1")


def test_a_request_without_any_name_gets_one_from_its_content() -> None:
    body = load(SAMPLES / "service-request.json")
    del body["identifier"], body["id"]
    (one,) = referrals(body)
    assert (one.referral.assigner, one.referral.identifier) == ("https://hospital.example/mrn", "unnamed")


@pytest.mark.parametrize(("kind", "change", "path", "why"), [
    ("Patient", {"identifier": None}, "Bundle.entry[1].resource.identifier", "required"),
    ("Patient", {"birthDate": "1994-03"}, "Bundle.entry[1].resource.birthDate", "required"),
    ("Patient", {"birthDate": "1705-03-01"}, "Bundle.entry[1].resource.birthDate", "value"),
    ("Patient", {"name": "Ana"}, "Bundle.entry[1].resource.name", "structure"),
    ("ServiceRequest", {"status": "revoked"}, "Bundle.entry[0].resource.status", "business-rule"),
    ("ServiceRequest", {"doNotPerform": True}, "Bundle.entry[0].resource.doNotPerform", "business-rule"),
    ("ServiceRequest", {"subject": None}, "Bundle.entry[0].resource.subject", "required"),
    ("ServiceRequest", {"priority": "whenever"}, "Bundle.entry[0].resource.priority", "value"),
    ("ServiceRequest", {"modifierExtension": [{"url": "x"}]}, "Bundle.entry[0].resource.modifierExtension", "not-supported"),
])  # fmt: skip
def test_what_cannot_be_read_is_refused_at_its_place(sent: Json, kind: str, change: Json, path: str, why: str) -> None:
    found = resource(sent, kind)
    found.update(change)
    for name in [name for name, value in found.items() if value is None]:
        del found[name]
    assert (path, why) in refusal(sent)


@pytest.mark.parametrize(("body", "path"), [
    ([], "Resource"), ({}, "Resource"), ({"resourceType": "Goal"}, "Goal"), ({"resourceType": "canary 7"}, "Resource"),
    ({"resourceType": "Bundle", "type": "transaction"}, "Bundle.entry"),
    ({"resourceType": "Bundle", "type": "transaction", "entry": [{}]}, "Bundle.entry[0].resource"),
    ({"resourceType": "Bundle", "type": "message", "entry": []}, "Bundle.entry[0].resource"),
])  # fmt: skip
def test_other_payloads_get_a_reason_and_a_path(body: Any, path: str) -> None:
    assert refusal(body)[0][0] == path


def test_a_searchset_is_an_answer_and_not_a_referral() -> None:
    with pytest.raises(FhirRefused) as refused:
        transaction({"resourceType": "Bundle", "type": "searchset"}, "transaction", "batch")
    assert refused.value.issues[0].expression == "Bundle.type"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.sampled_from(
        ["active", "Patient/p-1", "#client", "2021-02-30", "9999-12-31", "2020", "stat", "Patient", "Bundle", "\ud800", "\x00"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["reference", "identifier", "value", "system", "code", "coding", "end", "url", "x y", "resourceType"]),
        inner, max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip


def places(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for step, value in steps:
        yield (*at, step)
        yield from places(value, (*at, step))


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_mutation_of_a_payload_raises_anything_but_a_refusal_with_a_path(sample: Path, data: st.DataObject) -> None:
    body = copy.deepcopy(load(sample))
    for where in data.draw(st.lists(st.sampled_from(list(places(body))), min_size=1, max_size=3)):
        mutate(body, where, data.draw(ANYTHING))
    issues = issues_of(body)
    assert issues is None or (issues and all(issue.expression for issue in issues))
    json.dumps(operation_outcome(issues or ()), ensure_ascii=False).encode()


def issues_of(body: Any) -> tuple[Issue, ...] | None:
    try:
        found = referrals(body)
        assert found
        assert all(one.referral.model_dump_json().encode() for one in found)
    except FhirRefused as refused:
        return refused.issues
    return None


def mutate(body: Any, where: tuple[Any, ...], value: Any) -> None:
    for step in where[:-1]:
        try:
            body = body[step]
        except (KeyError, IndexError, TypeError):
            return
    with suppress(KeyError, IndexError, TypeError):
        body[where[-1]] = value
