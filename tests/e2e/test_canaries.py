"""Nothing that names a client, nor a client's free text, is written outside the identity store and its one inbound topic."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import pytest
from tests.e2e import canary as canaries
from tests.e2e import payloads, written
from tests.e2e.canary import BORN, PLANTED, Canary, found_in
from tests.e2e.payloads import FHIR, FHIR_DOORS, MODES, Mode, attributes, path_of
from tests.e2e.world import World
from tests.support.stack import query

from cli.demo.tally import Sent
from cli.stack import SERVICES
from contracts.binary import to_headers
from contracts.topics import REFERRALS
from contracts.vocabulary import episode_id

# An event's ids, its source and its type are its sender's own and are kept; any other header may hold anything.
STRAY = ("x-patient", "ce_patientname")
ATTRIBUTES = ("ce_actor", "ce_purpose", "ce_dataschema", "traceparent")
FLAWED = ("ce_time", "ce_specversion", "ce_recordedtime", "ce_sensitivity")


@dataclass
class Told:
    """Which canary went where, what HTTP answered, and the referrals that were taken."""

    where: dict[int, str] = field(default_factory=dict)
    answers: list[tuple[str, httpx.Response]] = field(default_factory=list)
    taken: dict[Sent, Canary] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def canary(self, where: str) -> Canary:
        number = next(self._numbers)
        assert number < PLANTED, "three digits are not enough for so many canaries"
        self.where[number] = where
        return Canary(number)

    def leaks(self, pieces: Iterable[written.Piece]) -> str:
        """One line for each place where something of a canary stands that must not; empty when all is well."""
        leaks = {
            f"{where}: {found.word}, sent as {self.where.get(found.number or 0, 'something')}"
            for where, piece in pieces
            for found in found_in(piece)
            if found.number != PLANTED and not written.may_stand(found.word, where)
        }
        return "\n".join(sorted(leaks))


@pytest.fixture(scope="module")
def told(world: World) -> Told:
    """Everything is sent through every door, journeys are completed, an identity is looked up, and all is quiet again."""
    told = Told()
    for mode in MODES:
        _tell_kafka(world, told, mode)
    _tell_kafka_what_is_no_event(world, told)
    _tell_http(world, told)
    _tell_fhir(world, told)
    _ask_http(world, told)
    world.stand(told.taken)
    shown = _look_up(world, next(iter(told.taken.values())))
    assert shown.is_success, f"the identity look-up failed: {shown.text}"
    world.be_quiet()
    return told


def test_the_search_finds_what_is_planted_in_any_place(world: World, told: Told) -> None:
    planted = Canary(PLANTED)
    word, headers = planted.word("planted"), [("x-planted", planted.word("header").encode())]
    world.send("oversight.checkpoints.v1", word, b'{"a": "' + planted.phone.encode() + b'"}', headers)
    log = world.stack.log_path("planted")
    log.write_text(f"all is well\nsaid {word}\n")
    owner = world.stack.dsn("oversight", "owner")
    query(owner, "CREATE TABLE planted (a text, b bytea, c jsonb, d text)")
    encoded = "encode($1::bytea, 'base64')"
    query(owner, f"INSERT INTO planted VALUES ($2, $1, jsonb_build_object('x', $2::text), {encoded})", word.encode(), word)
    try:
        pieces = [*written.topics(world), *written.logs(world.stack), *written.tables(world.stack)]
    finally:
        query(owner, "DROP TABLE planted")
        log.unlink()
    found = {where for where, piece in pieces for one in found_in(piece) if one.number == PLANTED or "base64" in one.word}
    assert found == {
        "topic oversight.checkpoints.v1, key", "topic oversight.checkpoints.v1, value",
        "topic oversight.checkpoints.v1, header x-planted", "logs/planted.log, line 2",
        *(f"oversight.public.planted.{column}" for column in "abcd"),
    }  # fmt: skip


@pytest.mark.parametrize("text", [b"Canaryfamily007", b"+1 5550199007", BORN.encode(), b"43616e61727966616d696c79303037"])
def test_the_search_knows_an_identity_in_other_clothes(text: bytes) -> None:
    assert list(found_in(b'{"x": "' + text + b'"}')), f"{text!r} was not recognised"
    assert not list(found_in(b'{"family": "Doe", "phone": "555-0100", "n": 5550198007}'))


def test_the_canaries_came_in_and_stand_in_the_identity_store(world: World, told: Told) -> None:
    """Without this, nothing found elsewhere would prove nothing."""
    kept = {row["family_name"] for row in query(world.stack.dsn("intake", "owner"), "SELECT family_name FROM identity")}
    assert {canary.word("family") for canary in told.taken.values()} <= kept
    parked = query(world.stack.dsn("intake", "owner"), "SELECT value FROM messaging.parked WHERE value IS NOT NULL")
    assert any(list(found_in(row["value"])) for row in parked), "none of the broken records was parked"
    inbound = [piece for where, piece in written.topics(world) if where == f"topic {REFERRALS}, value"]
    assert any(list(found_in(piece)) for piece in inbound), "the search does not read the inbound topic"


def test_no_topic_but_the_inbound_one_holds_anything_of_a_client(world: World, told: Told) -> None:
    assert told.leaks(written.topics(world)) == ""


def test_no_table_but_the_identity_store_holds_anything_of_a_client(world: World, told: Told) -> None:
    assert told.leaks(written.tables(world.stack)) == ""


def test_no_log_holds_anything_of_a_client(world: World, told: Told) -> None:
    pieces = list(written.logs(world.stack))
    logged = {where.partition(",")[0] for where, _ in pieces}
    assert {f"logs/{name}.log" for name in (*SERVICES, "kafka", "postgres")} <= logged, "a log is missing from the search"
    assert told.leaks(pieces) == ""


def test_no_metric_holds_anything_of_a_client(world: World, told: Told) -> None:
    assert told.leaks(written.metrics(world)) == ""


def test_no_answer_to_a_sender_holds_anything_of_a_client(told: Told) -> None:
    assert told.leaks((where, _whole(answer)) for where, answer in told.answers) == ""


def test_no_door_breaks(told: Told) -> None:
    assert {where: answer.text for where, answer in told.answers if answer.is_server_error} == {}


def _whole(answer: httpx.Response) -> bytes:
    return answer.content + b"\n" + str(answer.headers).encode()


def _tell_kafka(world: World, told: Told, mode: Mode) -> None:
    cases = {"as it should be": lambda _, data: data, **canaries.GROWN, **canaries.BROKEN}
    for label, change in cases.items():
        canary = told.canary(f"kafka, {mode}: {label}")
        sent = _send(world, mode, canary, change(canary, canary.referral()), {})
        if label not in canaries.BROKEN:
            told.taken[sent] = canary
    for name in (*STRAY, *ATTRIBUTES, *FLAWED):
        canary = told.canary(f"kafka, {mode}: in {name}")
        sent = _send(world, mode, canary, canary.referral(), {name: canary.word("stray" if name in STRAY else "attribute")})
        if name not in FLAWED:
            told.taken[sent] = canary
    again = told.canary(f"kafka, {mode}: the same id with other content")
    for note in ("one", "another"):
        sent = _send(world, mode, again, again.referral() | {"note": f"{again.word(note)} note"}, {})
    told.taken[sent] = again
    broken = told.canary(f"kafka, {mode}: all headers, and a broken payload")
    headers = dict.fromkeys(STRAY, broken.word("stray")) | dict.fromkeys(ATTRIBUTES, broken.word("attribute"))
    _send(world, mode, broken, broken.word("payload"), headers)


def _send(world: World, mode: Mode, canary: Canary, data: Any, headers: Mapping[str, str]) -> Sent:
    """Extra headers are members of the event in structured mode; what is no attribute stays a header."""
    identifier = f"R-{canary.number:03d}"
    extra = {name.removeprefix("ce_"): value for name, value in headers.items() if name.startswith("ce_")}
    said = {**attributes(identifier, identifier), **extra}
    plain = [(name, value.encode()) for name, value in headers.items() if not name.startswith("ce_")]
    record, value = payloads.record(mode, said, data)
    world.send(REFERRALS, identifier, value, [*record, *plain])
    return payloads.SOURCE, identifier


def _tell_kafka_what_is_no_event(world: World, told: Told) -> None:
    def send(label: str, headers: list[tuple[str, bytes]], value: bytes) -> None:
        canary = told.canary(f"kafka: {label}")
        whole = json.dumps(canary.referral()).encode()
        world.send(REFERRALS, f"R-{canary.number}", value.replace(b"WHOLE", whole), headers)

    known = to_headers(attributes("no-event", "no-event"))
    send("no headers", [], b"WHOLE")
    send("cut off", known, b'{"x": WHOLE')
    send("not UTF-8", known, b"\xff\xfe WHOLE")
    send("structured, cut off", payloads.STRUCTURED, b'{"x": WHOLE')
    send("structured, a batch", payloads.STRUCTURED, b"[WHOLE]")
    send("structured, no attributes", payloads.STRUCTURED, b"WHOLE")
    send("an unknown type", to_headers(attributes("n", "n", type="care.rapport.referral.invented.v1")), b"WHOLE")
    send("a command", to_headers(attributes("n", "n", type="command:disclose-identity")), b"WHOLE")
    send("a source of ours", to_headers(attributes("n", "n", source="/rapport/intake/http")), b"WHOLE")


def _tell_http(world: World, told: Told) -> None:
    cases = {"as it should be": lambda _, data: data, **canaries.GROWN, **canaries.BROKEN}
    for label, change in cases.items():
        canary = told.canary(f"POST /v1/referrals: {label}")
        body = json.dumps(change(canary, canary.referral()))
        headers = {"content-type": "application/json", "Idempotency-Key": f"key-{canary.number}", "x": canary.word("header")}
        answer = world.post("/v1/referrals", content=body, headers=headers)
        told.answers.append((told.where[canary.number], answer))
        assert answer.is_success == (label not in canaries.BROKEN), f"{label}: {answer.status_code} {answer.text}"
        if answer.is_success:
            told.taken["/rapport/intake/http", f"key-{canary.number}"] = canary
            amended = json.dumps(canary.referral(need={"problem_area": "grief"}))
            told.answers.append((f"{label}, amended", world.post("/v1/referrals", content=amended, headers=headers)))


def _tell_fhir(world: World, told: Told) -> None:
    cases = {"as it should be": lambda _, bundle: bundle, **canaries.FHIR_GROWN, **canaries.FHIR_BROKEN}
    for door in FHIR_DOORS:
        for label, change in cases.items():
            if door == "/fhir/ServiceRequest" and label.startswith(
                ("the entries", "an entry", "a method", "the type", "an address")
            ):
                continue
            canary = told.canary(f"{door}: {label}")
            body = _fhir_body(door, canary, change, early=label not in ("the type is a text",))
            answer = world.post(
                path_of(door), content=json.dumps(body), headers=FHIR | {"Idempotency-Key": f"key-{canary.number}"}
            )
            told.answers.append((told.where[canary.number], answer))
            if label not in canaries.FHIR_BROKEN:
                assert answer.is_success, f"{door}, {label}: {answer.status_code} {answer.text}"
                told.taken["/rapport/intake/fhir", f"key-{canary.number}"] = canary


def _fhir_body(door: str, canary: Canary, change: canaries.Break, early: bool) -> Any:
    """What breaks the Bundle itself is done last, or the door's own shape would mend it."""
    bundle = canary.bundle()
    try:
        return payloads.fhir_body(door, change(canary, bundle)) if early else change(canary, payloads.fhir_body(door, bundle))
    except (TypeError, KeyError, StopIteration):
        return change(canary, payloads.fhir_body(door, bundle))


def _ask_http(world: World, told: Told) -> None:
    """Places of a request other than its body."""

    def get(path: str, **request: Any) -> None:
        told.answers.append((f"GET {path.partition('?')[0]}", world.get("intake", path, **request)))

    canary = told.canary("the address or the headers of an HTTP request")
    word = canary.word("asked")
    get(f"/v1/clients/{word}/identity", params={"purpose": "treatment"}, headers={"X-Actor": "therapist:t-1"})
    get("/v1/clients/x/identity", params={"purpose": f"{word} !"}, headers={"X-Actor": "therapist:t-1"})
    get("/v1/clients/x/identity", params={"purpose": "treatment"}, headers={"X-Actor": f"Jo {word}"})
    get("/v1/referrals", params={"assigner": word, "identifier": word})
    get(f"/v1/referrals/{word}")
    get(f"/fhir/ServiceRequest/{word}")
    get(f"/{word}")
    for path in ("/v1/referrals", "/fhir", "/fhir/$process-message", f"/v1/handoffs/{word}/answer", f"/fhir/{word}"):
        flawed: list[dict[str, str]] = [
            {"content-type": word},
            {"content-type": "application/json", "Idempotency-Key": word * 30},
        ]
        for headers in flawed:
            told.answers.append((f"POST {path}", world.post(path, content=b'{"a": "' + word.encode(), headers=headers)))


def _look_up(world: World, canary: Canary) -> httpx.Response:
    episode = episode_id(payloads.ASSIGNER, f"R-{canary.number:03d}")
    headers = {"X-Actor": "therapist:t-1"}
    shown = world.get("intake", f"/v1/clients/{episode}/identity", params={"purpose": "treatment"}, headers=headers)
    assert canary.word("family") in shown.text, shown.text
    return shown
