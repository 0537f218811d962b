"""A referral as an integrator's FHIR R4 transaction: ServiceRequest, Patient, Condition, Consent."""

from typing import Any

from contracts.referral import ReferralSubmitted

# One ICD-10-CM code per problem area of the invented people.
_CODES = {
    "anxiety": "F41.1", "depression": "F32.1", "trauma": "F43.10", "psychosis": "F20.9", "bipolar": "F31.9",
    "eating": "F50.01", "family": "Z63.0", "grief": "Z63.4",
}  # fmt: skip
_PRIORITIES = {"emergency": "stat", "urgent": "urgent", "routine": "routine"}


def bundle_of(referral: ReferralSubmitted) -> dict[str, Any]:
    """The transaction Bundle; posted to `/fhir` it is the same referral as over any other door."""
    resources = {"patient": _patient(referral), "condition": _condition(referral), "request": _request(referral)}
    if referral.consent:
        resources["consent"] = _consent()
    entries = [
        {"fullUrl": f"urn:demo:{name}", "resource": r, "request": {"method": "POST", "url": r["resourceType"]}}
        for name, r in resources.items()
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _patient(referral: ReferralSubmitted) -> dict[str, Any]:
    client = referral.client
    return {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:{referral.assigner}:mrn", "value": client.record_number}],
        "name": [{"family": client.family_name, "given": [client.given_name]}],
        "birthDate": client.birth_date.isoformat(),
        "telecom": [{"system": "phone", "value": client.phone}],
        "address": [{"state": referral.need.place}],
        "communication": [
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": referral.need.language}]}, "preferred": True}
        ],
    }


def _condition(referral: ReferralSubmitted) -> dict[str, Any]:
    code = _CODES[referral.need.problem_area]
    return {
        "resourceType": "Condition",
        "subject": {"reference": "urn:demo:patient"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}]},
    }


def _request(referral: ReferralSubmitted) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": _PRIORITIES[referral.need.urgency],
        "identifier": [{"system": referral.assigner, "value": referral.identifier}],
        "subject": {"reference": "urn:demo:patient"},
        "reasonReference": [{"reference": "urn:demo:condition"}],
        "note": [{"text": referral.note}],
    }


def _consent() -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "urn:demo:patient"},
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "sourceReference": {"display": "signed consent form"},
    }
