"""Matching as it runs, among the other services: from a referral to a therapist who accepted, over its HTTP edge."""

import asyncio
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from cli.stack import Stack
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.therapist import TherapistListed
from contracts.topics import THERAPISTS

LISTED = TherapistListed(
    version=1, capacity=1, problem_areas=("grief",), age_bands=("adult",), languages=("sv",), places=("WA",),
    modalities=("video",), payers=("self-pay",),
)  # fmt: skip


def call(stack: Stack, service: str, path: str, body: Any = None, key: str = "") -> tuple[int, dict[str, Any]]:
    headers = {"content-type": "application/json", "idempotency-key": key or str(uuid.uuid4())}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{stack.address(service)}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def until(look: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not wanted(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert wanted(seen), seen
    return seen


async def publish(stack: Stack, therapist: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap)
    await producer.start()
    envelope = Envelope(id=str(uuid.uuid4()), source="/directory", type=LISTED.type, subject=therapist, time=datetime.now(UTC))
    headers = to_headers(attributes_of(envelope))
    await producer.send_and_wait(THERAPISTS, LISTED.model_dump_json().encode(), therapist.encode(), headers=headers)
    await producer.stop()


def refer(stack: Stack) -> str:
    identifier = str(uuid.uuid4())
    client = {"record_number": identifier, "family_name": "Doe", "given_name": "Jo", "birth_date": "1990-05-01"}
    need = {"problem_area": "grief", "language": "sv", "place": "WA"}
    referral = {"assigner": "st-mary", "identifier": identifier, "client": client, "need": need}
    status, reply = call(stack, "intake", "/v1/referrals", referral | {"consent": {"kind": "treatment"}})
    assert status == 202, reply
    return str(reply["episode"])


@pytest.fixture
def therapist(stack: Stack) -> str:
    therapist_id = f"t-{uuid.uuid4()}"
    asyncio.run(publish(stack, therapist_id))
    until(lambda: call(stack, "matching", f"/v1/therapists/{therapist_id}")[0], lambda status: status == 200)
    return therapist_id


def test_a_client_is_shown_a_shortlist_chooses_and_is_handed_to_followup(stack: Stack, therapist: str) -> None:
    episode = refer(stack)

    def match() -> dict[str, Any]:
        return call(stack, "matching", f"/v1/episodes/{episode}")[1]

    shown = until(match, lambda seen: seen.get("stage") == "shortlisted")["shortlist"]
    assert [candidate["therapist_id"] for candidate in shown] == [therapist]
    assert shown[0]["points"] == sum(reason["points"] for reason in shown[0]["reasons"])

    status, reply = call(stack, "matching", f"/v1/episodes/{episode}/choice", {"therapist_id": "somebody"})
    assert (status, reply["reason"]) == (409, "not-on-shortlist")
    key = str(uuid.uuid4())
    first = call(stack, "matching", f"/v1/episodes/{episode}/choice", {"therapist_id": therapist}, key)
    again = call(stack, "matching", f"/v1/episodes/{episode}/choice", {"therapist_id": therapist}, key)
    assert (first[0], again[1]) == (202, first[1] | {"duplicate": True})
    assert call(stack, "matching", f"/v1/therapists/{therapist}")[1]["held"] == 1

    offer = first[1]["reply"]["offer_id"]
    answer = {"episode": episode, "answer": "accepted"}
    assert call(stack, "matching", f"/v1/offers/{offer}/answer", answer)[0] == 202
    status, reply = call(stack, "matching", f"/v1/offers/{offer}/answer", answer)
    assert (status, reply["reason"]) == (409, "already-answered")
    assert until(match, lambda seen: seen["stage"] == "handed-over")["custodian"] == "followup"


def test_what_is_not_known_or_not_said_right_is_answered_as_a_problem(stack: Stack) -> None:
    unknown = call(stack, "matching", "/v1/episodes/nobody/choice", {"therapist_id": "any"})
    wrong = call(stack, "matching", "/v1/episodes/nobody/choice", {"therapist": "any"})
    assert [unknown[0], wrong[0]] == [404, 422]
    assert wrong[1]["problems"] == [{"path": "/therapist_id", "problem": "missing"}]
    assert call(stack, "matching", "/v1/therapists/nobody")[0] == 404
