"""Bad input over every door gets a reason with a path, and nothing else is delayed by it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.e2e import payloads
from tests.e2e.payloads import FHIR, FHIR_DOORS, MODES, SOURCE, Json, Mode, attributes, referral
from tests.e2e.world import Headers, Place, World, rapport

from cli.demo.tally import Sent
from cli.stack import SERVICES
from contracts import intake
from contracts.binary import to_headers
from contracts.clinical import SessionRecorded
from contracts.event import Problem
from contracts.intake import ReferralAccepted, ReferralRefused
from contracts.topics import CLINICAL, REFERRALS

JSON = "application/json"
TWO_MB = 2_000_000
SOON = 5.0
LATE = "2020-01-01T00:00:00Z"
DISCLOSE = "command:disclose-identity"
both_modes = pytest.mark.parametrize("mode", MODES)
each_fhir_door = pytest.mark.parametrize("door", FHIR_DOORS)


@dataclass
class Good:
    """The good referrals that went around the bad ones, and when each was sent."""

    sent: dict[Sent, float] = field(default_factory=dict)

    def send(self, world: World, key: str) -> None:
        name = f"good-{uuid4()}"
        headers, value = payloads.record("binary", attributes(name, name), referral(name))
        world.send(REFERRALS, key, value, headers)
        self.sent[SOURCE, name] = monotonic()


@pytest.fixture(scope="module")
def good() -> Good:
    """What the last test of this file looks at."""
    return Good()


@contextmanager
def nothing_else_delayed(world: World, good: Good, key: str) -> Iterator[None]:
    """Good referrals in the very partition of the bad record, before and right after it."""
    good.send(world, key)
    yield
    good.send(world, key)


def send(world: World, mode: Mode, data: Any, key: str, topic: str = REFERRALS, **changes: str | None) -> tuple[Place, Sent]:
    """A referral whose id and subject are its key, unless changed; where it lies, and what it is known by."""
    said = attributes(key, changes.pop("subject", key), **changes)
    headers, value = payloads.record(mode, said, data)
    return world.send(topic, key, value, headers), (said.get("source", ""), said.get("id", ""))


def refused(world: World, sent: Sent) -> tuple[str, list[str]]:
    """The reason, and the paths of the problems."""
    answer = world.answer_to(sent)
    assert isinstance(answer, ReferralRefused), f"a bad referral was taken: {answer}"
    return answer.reason, [problem.path for problem in answer.problems]


def parked(world: World, place: Place, service: str = "intake") -> tuple[str, str | None]:
    """The reason, and the path of what could not be read."""
    found = world.parked(service, place)
    return found.reason, found.path


@pytest.fixture
def key() -> str:
    """An identifier, and the Kafka key, of one bad referral."""
    return f"bad-{uuid4()}"


# What is unlike a referral's record: its attributes or, where there are none, its headers; its value; reason and path.
UNREADABLE: dict[str, tuple[dict[str, str | None] | Headers, bytes | None, str, str]] = {
    "no headers": ([], b"\xff\xfe\x00", "not-a-cloudevent", "ce_specversion"),
    "no value": ({}, None, "not-a-cloudevent", "value"),
    "no id": ({"id": None}, b"{}", "not-a-cloudevent", "ce_id"),
    "a time that is none": ({"time": "yesterday"}, b"{}", "not-a-cloudevent", "ce_time"),
    "not JSON": ({}, b"family_name=Doe", "schema-json-invalid", "/"),
    "not UTF-8": ({}, b'{"note": "\xff\xfe"}', "schema-json-invalid", "/"),
    "cut off": ({}, b'{"assigner": "st-mary", "identi', "schema-json-invalid", "/"),
    "structured, not JSON": (payloads.STRUCTURED, b"{", "not-a-cloudevent", "value"),
    "structured, a batch": (payloads.STRUCTURED, b"[]", "not-a-cloudevent", "value"),
    "structured, no source": (payloads.STRUCTURED, b'{"specversion": "1.0", "id": "i"}', "not-a-cloudevent", "ce_source"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_record_is_parked_with_the_place_where_reading_ended(
    world: World, good: Good, key: str, case: str
) -> None:
    said, value, reason, path = UNREADABLE[case]
    headers = said if isinstance(said, list) else to_headers(attributes(key, key, **said))
    with nothing_else_delayed(world, good, key):
        place = world.send(REFERRALS, key, value, headers)
    assert parked(world, place) == (reason, path)


@both_modes
def test_an_unknown_type_is_parked(world: World, good: Good, key: str, mode: Mode) -> None:
    with nothing_else_delayed(world, good, key):
        place, _ = send(world, mode, referral(key), key, type="care.rapport.referral.invented.v1")
    assert parked(world, place) == ("unknown-type", "ce_type")


@both_modes
def test_a_referral_with_the_wrong_schema_is_refused_with_each_path(world: World, good: Good, key: str, mode: Mode) -> None:
    bad = referral(key, need={"problem_area": "something else"}, respond_by="soon")
    with nothing_else_delayed(world, good, key):
        _, sent = send(world, mode, bad, key)
    assert refused(world, sent) == ("invalid", ["/need/problem_area", "/respond_by"])


@both_modes
def test_a_referral_that_does_not_say_whom_to_answer_is_parked(world: World, good: Good, key: str, mode: Mode) -> None:
    nameless = {name: value for name, value in referral(key).items() if name != "identifier"}
    with nothing_else_delayed(world, good, key):
        place, _ = send(world, mode, nameless, key)
    assert parked(world, place) == ("schema-missing", "/identifier")


@both_modes
@pytest.mark.parametrize("subject", [None, "another"])
def test_a_referral_whose_subject_is_missing_or_another_is_refused(
    world: World, good: Good, key: str, mode: Mode, subject: str | None
) -> None:
    with nothing_else_delayed(world, good, key):
        _, sent = send(world, mode, referral(key), key, subject=subject)
    assert refused(world, sent) == ("invalid", ["ce_subject"])


@both_modes
def test_the_same_source_and_id_with_other_content_is_parked_and_the_first_stays(
    world: World, good: Good, key: str, mode: Mode
) -> None:
    with nothing_else_delayed(world, good, key):
        _, first = send(world, mode, referral(key), key)
        place, _ = send(world, mode, referral(key, note="Prefers evenings."), key)
    assert parked(world, place) == ("same-id-other-content", "ce_id")
    assert isinstance(world.answer_to(first), ReferralAccepted)
    good.sent[first] = monotonic()


@both_modes
def test_the_same_referral_with_other_content_under_another_id_is_refused_as_amended(
    world: World, good: Good, key: str, mode: Mode
) -> None:
    with nothing_else_delayed(world, good, key):
        _, first = send(world, mode, referral(key), key)
        _, second = send(world, mode, referral(key, note="Prefers evenings."), key, id=f"{key}-2")
    assert refused(world, second) == ("amended", ["/"])
    good.sent[first] = monotonic()


@both_modes
def test_a_referral_from_a_source_of_ours_is_refused(world: World, good: Good, key: str, mode: Mode) -> None:
    with nothing_else_delayed(world, good, key):
        _, sent = send(world, mode, referral(key), key, source="/rapport/intake/http")
    assert refused(world, sent) == ("foreign-source", ["ce_source"])


@both_modes
def test_a_session_from_a_source_of_ours_is_parked(world: World, good: Good, key: str, mode: Mode) -> None:
    session = {"session_id": "s-1", "held_at": LATE}
    with nothing_else_delayed(world, good, key):
        place, _ = send(world, mode, session, key, CLINICAL, source="/rapport/followup", type=SessionRecorded.type)
    assert parked(world, place, "followup") == ("foreign-source", "ce_source")


@both_modes
@pytest.mark.parametrize("topic", [REFERRALS, CLINICAL])
def test_a_command_over_kafka_is_parked_and_never_carried_out(
    world: World, good: Good, key: str, mode: Mode, topic: str
) -> None:
    with nothing_else_delayed(world, good, key):
        episode = open_episode(world, key)
        order = {"recipient": "therapist:t-1", "purpose": "treatment"}
        place, _ = send(world, mode, order, key, topic, subject=episode, type=DISCLOSE)
    assert parked(world, place) == ("unknown-type", "ce_type")
    assert not [e for _, e in world.heard.record.episodes[episode] if isinstance(e, intake.DisclosureMade)]


def open_episode(world: World, key: str) -> str:
    """An episode that is open, so that a command about it would have something to act on."""
    answer = world.post("/v1/referrals", json=referral(f"{key}-open"))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["episode"])


@both_modes
def test_a_deadline_in_the_past_is_refused(world: World, good: Good, key: str, mode: Mode) -> None:
    with nothing_else_delayed(world, good, key):
        _, sent = send(world, mode, referral(key, respond_by=LATE), key)
    assert refused(world, sent) == ("deadline-in-the-past", ["/respond_by"])


def test_a_body_of_two_megabytes_is_refused_by_the_broker_and_publish_says_so(
    world: World, good: Good, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "large.json"
    file.write_text(json.dumps({**attributes(key, key), "data": referral(key, note="x" * TWO_MB)}))
    with nothing_else_delayed(world, good, key):
        unchecked = rapport(world.stack, "publish", str(file), "--no-validate")
        checked = rapport(world.stack, "publish", str(file))
    assert (unchecked.exit_code, "the broker refused" in str(unchecked.exception)) == (1, True), unchecked
    assert (checked.exit_code, "too-large at /data" in checked.output) == (1, True), checked.output


HTTP_CASES: dict[str, tuple[dict[str, Any], str]] = {
    "wrong schema": ({"need": {"problem_area": "something else"}}, "/need/problem_area"),
    "wrong type": ({"client": "Jo Doe"}, "/client"),
    "an assigner that is none": ({"assigner": None}, "/assigner"),
    "no record number": ({"client": {"family_name": "Doe"}}, "/client/record_number"),
    "a deadline in the past": ({"respond_by": LATE}, "/respond_by"),
    "no consent basis": ({"consent": None}, "/consent"),
}  # fmt: skip


@pytest.mark.parametrize("case", HTTP_CASES)
def test_a_bad_referral_over_http_gets_a_problem_with_a_path(world: World, good: Good, key: str, case: str) -> None:
    changes, path = HTTP_CASES[case]
    with nothing_else_delayed(world, good, key):
        answer = world.post("/v1/referrals", json=referral(key, **changes))
    assert_problem(answer, 422)
    assert path in [Problem.model_validate(one).path for one in answer.json()["problems"]], answer.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [(b"{", JSON, 400), (b"\xff", JSON, 400), (b"", JSON, 400), (b"{}", "text/plain", 415)],
)
def test_a_body_that_is_no_json_gets_a_problem(world: World, body: bytes, kind: str, status: int) -> None:
    assert_problem(world.post("/v1/referrals", content=body, headers={"content-type": kind}), status)


def test_an_idempotency_key_with_another_body_is_refused(world: World, good: Good, key: str) -> None:
    headers = {"Idempotency-Key": key}
    with nothing_else_delayed(world, good, key):
        first = world.post("/v1/referrals", json=referral(key), headers=headers)
        second = world.post("/v1/referrals", json=referral(key, note="other"), headers=headers)
    assert first.status_code == 202, first.text
    assert_problem(second, 422)
    assert second.json()["reason"] == "same-id-other-content"


@pytest.mark.parametrize(
    ("service", "path", "status"),
    [
        ("intake", "/v1/referrals/%00", 422), ("intake", "/fhir/ServiceRequest/%00", 404),
        ("matching", "/v1/episodes/%00", 422), ("followup", "/v1/episodes/%00", 422),
        ("oversight", "/v1/episodes/%00/events", 422),
    ],
)  # fmt: skip
def test_a_name_that_nothing_can_have_is_the_askers_mistake(world: World, service: str, path: str, status: int) -> None:
    assert world.get(service, path, headers={"X-Actor": "operator"}).status_code == status


@pytest.mark.parametrize("path", ["/v1/referrals", "/fhir", "/fhir/ServiceRequest", "/fhir/$process-message"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_two_megabytes_over_http_is_413(world: World, path: str, chunked: bool) -> None:
    body = iter([b" " * 100_000] * (TWO_MB // 100_000)) if chunked else b" " * TWO_MB
    assert_problem(world.post(path, content=body, headers={"content-type": JSON}), 413)


@each_fhir_door
def test_a_fhir_resource_of_another_kind_is_refused(world: World, good: Good, key: str, door: str) -> None:
    bundle = payloads.transaction(referral(key))
    other: Json = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}
    if door == "/fhir/ServiceRequest":
        body, where = other, "Observation"
    elif door == "/fhir (transaction)":
        body, where = bundle | {"entry": [{"resource": other}]}, "Bundle.entry"
    elif door == "/fhir (batch)":
        body, where = bundle | {"type": "batch", "entry": [{"resource": other}]}, "Bundle.entry[0].resource"
    else:
        body, where = payloads.fhir_body(door, bundle), "Bundle.entry[0].resource.focus[0]"
        body["entry"][0]["resource"]["focus"] = [{"reference": "urn:demo:patient"}]
    with nothing_else_delayed(world, good, key):
        answer = post_fhir(world, door, body)
    assert outcome_at(answer) == [where]


@each_fhir_door
def test_a_patient_without_identifier_is_refused(world: World, good: Good, key: str, door: str) -> None:
    bundle = payloads.transaction(referral(key))
    del payloads.resource(bundle, "Patient")["identifier"]
    body = payloads.fhir_body(door, bundle)
    with nothing_else_delayed(world, good, key):
        answer = post_fhir(world, door, body)
    assert outcome_at(answer) == [f"{place_in(body, 'Patient')}.identifier"]


@pytest.mark.parametrize("door", [door for door in FHIR_DOORS if door != "/fhir/ServiceRequest"])
def test_a_deadline_in_the_past_of_a_task_is_refused(world: World, good: Good, key: str, door: str) -> None:
    bundle = payloads.transaction(referral(key))
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "focus": {"reference": "urn:demo:request"},
        "restriction": {"period": {"end": "2020-01-01"}},
    }  # fmt: skip
    bundle["entry"].append({"fullUrl": "urn:demo:task", "resource": task, "request": {"method": "POST", "url": "Task"}})
    body = payloads.fhir_body(door, bundle)
    with nothing_else_delayed(world, good, key):
        answer = post_fhir(world, door, body)
    assert outcome_at(answer) == [f"{place_in(body, 'Task')}.restriction.period.end"]


@each_fhir_door
def test_fhir_with_the_wrong_shape_is_refused_with_its_place(world: World, good: Good, key: str, door: str) -> None:
    bundle = payloads.transaction(referral(key))
    payloads.resource(bundle, "ServiceRequest")["note"] = "a text where a list belongs"
    body = payloads.fhir_body(door, bundle)
    with nothing_else_delayed(world, good, key):
        answer = post_fhir(world, door, body)
    assert f"{place_in(body, 'ServiceRequest')}.note" in outcome_at(answer)


@each_fhir_door
def test_the_referral_without_its_flaw_is_taken(world: World, key: str, door: str) -> None:
    """Without this, every refusal above could have another cause."""
    answer = post_fhir(world, door, payloads.fhir_body(door, payloads.transaction(referral(key))))
    assert answer.is_success, answer.text
    assert outcome_at(answer, missing_ok=True) == []


@pytest.mark.parametrize("door", ["/fhir", "/fhir/ServiceRequest", "/fhir/$process-message"])
def test_fhir_that_is_no_json_gets_an_operation_outcome(world: World, door: str) -> None:
    answer = world.post(door, content=b"<Bundle/>", headers=FHIR)
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome"), answer.text


def test_every_good_referral_beside_a_bad_one_is_answered_within_seconds_and_comes_through(world: World, good: Good) -> None:
    taken = {sent: isinstance(world.answer_to(sent), ReferralAccepted) for sent in good.sent}
    assert all(taken.values()), f"refused although good: {[sent for sent, ok in taken.items() if not ok]}"
    late = {sent: waited for sent, at in good.sent.items() if (waited := world.heard.answered_at[sent] - at) > SOON}
    assert late == {}, f"answered later than {SOON:g} s, beside a bad one"
    world.stand(good.sent)
    assert world.tally.doubled() == []


def test_parking_is_counted_and_every_service_is_still_ready(world: World) -> None:
    assert 'handled_total{outcome="parked"}' in world.get("intake", "/metrics").text
    for service in SERVICES:
        assert world.get(service, "/readyz").is_success, f"{service} is not ready after bad input"


def post_fhir(world: World, door: str, body: Json) -> httpx.Response:
    return world.post(payloads.path_of(door), content=json.dumps(body), headers=FHIR)


def assert_problem(answer: httpx.Response, status: int) -> None:
    """RFC 9457."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["status"] == status
    assert answer.json()["title"]


def outcome_at(answer: httpx.Response, missing_ok: bool = False) -> list[str]:
    """The places of the errors in the one OperationOutcome, or in those of a batch's entries."""
    assert answer.headers["content-type"] == "application/fhir+json", answer.text
    body = answer.json()
    if body["resourceType"] == "Bundle":
        outcomes = [e["response"]["outcome"] for e in body["entry"] if e.get("response", {}).get("status", "")[:1] == "4"]
    else:
        assert missing_ok or answer.is_client_error, f"{answer.status_code}: {answer.text}"
        outcomes = [body]
    issues = [issue for outcome in outcomes for issue in outcome["issue"] if issue["severity"] == "error"]
    return list(dict.fromkeys(place for issue in issues for place in issue["expression"]))


def place_in(body: Json, kind: str) -> str:
    """The FHIRPath of the first resource of a kind in a payload."""
    if body["resourceType"] == kind:
        return kind
    if body["resourceType"] != "Bundle":
        kinds = [one["resourceType"] for one in body["contained"]]
        return f"{body['resourceType']}.contained[{kinds.index(kind)}]"
    return f"Bundle.entry[{[e['resource']['resourceType'] for e in body['entry']].index(kind)}].resource"
