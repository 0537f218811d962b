"""Intake's doors on real PostgreSQL: one episode whatever the door, nothing of an identity outside the identity store."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.stack import FreshDatabase, Infra, query

from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.referral import ReferralSubmitted
from contracts.topics import INTAKE, REFERRALS
from intake.api import add_api
from intake.consumer import ROUTES
from intake.domain.urgency import Clocks
from intake.doors import Doors
from intake.fhir_api import add_fhir_api
from intake.handlers import Context
from intake.keyed import Keys
from messaging.door import Door
from messaging.http import new_app
from messaging.message import Answer
from messaging.metrics import Meters
from messaging.migrate import migrate
from messaging.parking import Policy
from messaging.processor import Processor
from messaging.received import read

ROOT = Path(__file__).parents[2]
SAMPLES, REFUSED = ROOT / "shared/cli/src/cli/samples/fhir", ROOT / "tests/support/fhir"
PUBLIC = ROOT.parent / "shared/data/fhir"
FHIR = {"content-type": "application/fhir+json"}
CANARIES = ("Canaryson", "CANARY-77", "555-0199", "canary@example", "canary lane", "canary note", "1991-02-03")
REFERRAL: dict[str, Any] = {
    "assigner": "st-mary",
    "identifier": "R-1",
    "client": {
        "record_number": "CANARY-77", "family_name": "Canaryson", "given_name": "Jo", "birth_date": "1991-02-03",
        "phone": "555-0199", "email": "canary@example.org", "address": "7 canary lane",
    },
    "need": {"problem_area": "anxiety"},
    "consent": {"kind": "treatment"},
    "note": "canary note",
}  # fmt: skip


@dataclass
class Record:
    """As much of a Kafka record as is read."""

    headers: list[tuple[str, bytes | None]]
    value: bytes | None
    topic: str = REFERRALS
    partition: int = 0
    offset: int = 0


@dataclass
class Intake:
    """The service without its broker: its doors, and records put into its hand."""

    http: httpx.AsyncClient
    processor: Processor

    async def record(self, event_id: str, source: str = "/st-mary", subject: str = "R-1", **changes: Any) -> Answer:
        envelope = Envelope(
            id=event_id, source=source, type=ReferralSubmitted.type, subject=subject, time=datetime.now(UTC), actor="door:guess"
        )
        value = json.dumps(REFERRAL | changes).encode()
        received = read(Record(list(to_headers(attributes_of(envelope))), value), ROUTES)
        assert received
        return (await self.processor.handle([received]))[0]

    async def refer(self, key: str | None = None, **changes: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.http.post("/v1/referrals", json=REFERRAL | changes, headers=headers)

    async def fhir(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(f"/fhir{path}", content=json.dumps(body), headers=FHIR)


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "intake")
    return fresh


@asynccontextmanager
async def opened(database: FreshDatabase) -> AsyncIterator[Intake]:
    keys = Keys("a key for tests only")
    context = Context(keys.content, keys.came_by_door, Clocks(), ("duty-manager",))

    async def load(connection: Any, messages: Any) -> Context:
        return context

    async def well() -> dict[str, str]:
        return {}

    async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=4) as pool:
        policy = Policy("intake.parked.v1", Clocks().handoff_answer_within, b"key")
        processor = Processor(pool, ROUTES, "/rapport/intake", INTAKE, load, policy, lambda *_: None)
        door = Door(ROUTES, processor, 100)
        app = new_app("intake", well, well, Meters())
        doors = Doors(SimpleNamespace(source="/rapport/intake", pool=pool, door=door), keys, context)  # type: ignore[arg-type]
        add_api(app, doors)
        add_fhir_api(app, doors)
        turning = asyncio.create_task(_forever(door.turn))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://intake") as http:
            yield Intake(http, processor)
        turning.cancel()


async def _forever(turn: Callable[[], Awaitable[None]]) -> None:
    while True:
        await turn()


def during(database: FreshDatabase, scenario: Callable[[Intake], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with opened(database) as intake:
            return await scenario(intake)

    return asyncio.run(run())


def said(database: FreshDatabase) -> list[str]:
    rows = query(database.owner_dsn, "SELECT headers FROM messaging.outbox ORDER BY n")
    return [dict(json.loads(row["headers"]))["ce_type"].split(".")[-2] for row in rows]


def sample(name: str, folder: Path = SAMPLES) -> Any:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def test_one_referral_through_two_doors_is_one_episode(database: FreshDatabase) -> None:
    async def scenario(intake: Intake) -> None:
        over_http = (await intake.refer("k-1")).json()
        over_kafka = await intake.record("e-1")
        assert over_http["status"] == "accepted"
        assert over_kafka.reply == {"episode": over_http["episode"], "repeated": True}

    during(database, scenario)
    assert said(database) == ["episode-opened", "referral-accepted", "handoff-offered", "referral-accepted"]
    assert len(query(database.owner_dsn, "SELECT * FROM identity")) == 1


def test_a_key_used_again_gets_the_same_answer_and_with_another_body_none(database: FreshDatabase) -> None:
    async def scenario(intake: Intake) -> None:
        first, again = await intake.refer("k-1"), await intake.refer("k-1")
        assert (first.status_code, first.content, first.headers["location"]) == (202, again.content, again.headers["location"])
        assert (await intake.refer("k-1", note="other")).status_code == 422
        amended = await intake.refer("k-2", note="other")
        assert (amended.status_code, amended.json()["reason"]) == (409, "amended")

    during(database, scenario)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"consent": None}, "/consent"),
        ({"respond_by": "2020-01-01T00:00:00Z"}, "/respond_by"),
        ({"client": {}}, "/client/record_number"),
        ({"assigner": "a\u0000b"}, "/assigner"),
    ],
)
def test_a_bad_referral_gets_its_reason_with_a_path_and_keeps_nothing(
    database: FreshDatabase, changes: dict[str, Any], path: str
) -> None:
    answer = during(database, lambda intake: intake.refer("k-1", **changes))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert path in [problem["path"] for problem in answer.json()["problems"]]
    assert query(database.owner_dsn, "SELECT * FROM identity") == []


def test_nobody_outside_uses_the_source_of_our_own_doors(database: FreshDatabase) -> None:
    answer = during(database, lambda intake: intake.record("e-1", source="/rapport/intake/http"))
    assert (answer.outcome, answer.reason, said(database)) == ("refused", "foreign-source", ["referral-refused"])


def test_a_body_that_is_too_large_or_no_json_is_not_read(database: FreshDatabase) -> None:
    async def scenario(intake: Intake) -> None:
        for path in ("/v1/referrals", "/fhir"):
            kind = {"content-type": "application/json"}
            assert (await intake.http.post(path, content=b" " * 2_000_000, headers=kind)).status_code == 413
            assert (await intake.http.post(path, content=_chunks(), headers=kind)).status_code == 413
            assert (await intake.http.post(path, content=b"{", headers=kind)).status_code == 400
            assert (await intake.http.post(path, content=b"[" * 500_000, headers=kind)).status_code == 400
            assert (await intake.http.post(path, content=b"x", headers={"content-type": "text/plain"})).status_code == 415

    during(database, scenario)


def test_a_body_that_is_nested_deeper_than_anybody_means_is_refused_and_says_so(database: FreshDatabase) -> None:
    async def scenario(intake: Intake) -> list[httpx.Response]:
        request = sample("service-request")
        nested = json.dumps(request)[:-1] + ', "note": ' + '{"extension": [' * 400 + "]}" * 400 + "}"
        referral = json.dumps(REFERRAL)[:-1] + ', "more": ' + "[" * 800 + "]" * 800 + "}"
        return [
            await intake.http.post("/fhir/ServiceRequest", content=nested, headers=FHIR),
            await intake.http.post("/fhir/$validate", content=nested, headers=FHIR),
            await intake.http.post("/v1/referrals", content=referral, headers={"content-type": "application/json"}),
        ]

    answers = during(database, scenario)
    assert [answer.status_code for answer in answers] == [400] * 3
    assert all("nested deeper than 64 levels" in answer.text for answer in answers)


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b" " * 100_000


def test_identity_is_shown_after_the_disclosure_is_on_the_record(database: FreshDatabase) -> None:
    async def scenario(intake: Intake) -> None:
        path = f"/v1/clients/{(await intake.refer()).json()['episode']}/identity"
        by = {"X-Actor": "therapist:t-17"}
        shown = await intake.http.get(path, params={"purpose": "treatment"}, headers=by)
        assert shown.json()["identity"]["family_name"] == "Canaryson"
        assert (await intake.http.get(path, params={"purpose": "payment"}, headers=by)).status_code == 403
        nameless = await intake.http.get(path, params={"purpose": "treatment"}, headers={"X-Actor": "Jo Canaryson"})
        assert (nameless.status_code, nameless.json()["problems"][0]["path"]) == (422, "X-Actor")
        assert "Canaryson" not in nameless.text
        unknown = await intake.http.get("/v1/clients/nobody/identity", params={"purpose": "treatment"}, headers=by)
        assert unknown.status_code == 404

    during(database, scenario)
    assert said(database).count("disclosure-made") == 1


def test_a_desk_answers_over_http_and_a_late_answer_is_a_conflict(database: FreshDatabase) -> None:
    async def scenario(intake: Intake) -> None:
        episode = (await intake.refer(need={"problem_area": "crisis", "urgency": "emergency"})).json()["episode"]
        asked = (await intake.http.get(f"/v1/referrals/{episode}")).json()["asked"]
        yes = {"answer": "accepted", "by": "crisis-desk", "episode": episode}
        accepted = await intake.http.post(f"/v1/handoffs/{asked['handoff']}/answer", json=yes)
        assert accepted.json() == {"episode": episode, "custodian": "crisis-desk"}
        late = await intake.http.post("/v1/handoffs/another/answer", json=yes)
        assert (late.status_code, late.json()["reason"]) == (409, "superseded")
        status = (await intake.http.get("/v1/referrals", params={"assigner": "st-mary", "identifier": "R-1"})).json()
        assert (status["custodian"], status["asked"]["receiver"]) == ("crisis-desk", "matching")

    during(database, scenario)
    assert said(database)[-3:] == ["handoff-accepted", "handoff-offered", "handoff-superseded"]


def test_fhir_samples_are_taken_each_by_its_own_way(database: FreshDatabase) -> None:
    async def scenario(intake: Intake) -> None:
        created = await intake.fhir("/ServiceRequest", sample("service-request"))
        assert created.status_code == 201
        found = await intake.http.get(created.headers["location"])
        assert found.json()["identifier"][0]["value"] == "SAMPLE-1002"
        transaction = (await intake.fhir("", sample("transaction"))).json()
        assert [entry["response"]["status"][:3] for entry in transaction["entry"]] == ["201"] + ["200"] * 5
        message = (await intake.fhir("/$process-message", sample("message"))).json()
        assert message["entry"][0]["resource"]["response"] == {"identifier": "sample-message-1", "code": "ok"}
        batch = (await intake.fhir("", sample("batch", REFUSED))).json()
        assert [entry["response"]["status"][:3] for entry in batch["entry"]] == ["201"] + ["200"] * 5 + ["422"] * 3

    during(database, scenario)
    assert said(database).count("episode-opened") == 3


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("patient-without-identifier", "Bundle.entry[1].resource.identifier"),
        ("deadline-in-the-past", "Bundle.entry[2].resource.restriction.period.end"),
        ("substance-use-without-consent", "Bundle.entry[0].resource.supportingInfo"),
        ("consent-denied", "Bundle.entry[5].resource"),
    ],
)
def test_a_bad_fhir_payload_gets_an_operation_outcome_with_its_place(
    database: FreshDatabase, name: str, expression: str
) -> None:
    answer = during(database, lambda intake: intake.fhir("", sample(name, REFUSED)))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/fhir+json")
    assert [issue["expression"] for issue in answer.json()["issue"]] == [[expression]]


def test_of_a_transaction_all_or_nothing_is_taken(database: FreshDatabase) -> None:
    body = sample("transaction")
    second = deepcopy(body["entry"][0])
    second["resource"]["id"], second["resource"]["identifier"][0]["value"] = "sr-9", "SAMPLE-1009"
    second["fullUrl"] = "https://hospital.example/fhir/ServiceRequest/sr-9"
    body["entry"].append(second)
    late = deepcopy(body["entry"][2])
    late["resource"] |= {"id": "t-9", "focus": {"reference": "ServiceRequest/sr-9"}}
    late["resource"]["restriction"] = {"period": {"end": "2020-01-01"}}
    late["fullUrl"] = "https://hospital.example/fhir/Task/t-9"

    refused = during(database, lambda intake: intake.fhir("", body | {"entry": [*body["entry"], late]}))
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[7].resource.restriction.period.end"]
    assert said(database) == []
    assert during(database, lambda intake: intake.fhir("", body)).status_code == 200
    assert said(database).count("episode-opened") == 2


def test_no_canary_is_written_anywhere_but_into_the_identity_store(database: FreshDatabase) -> None:
    fhir = sample("transaction")
    fhir["entry"][1]["resource"] |= {
        "identifier": [{"value": "CANARY-77"}], "birthDate": "1991-02-03", "name": [{"family": "Canaryson", "given": ["Jo"]}],
        "telecom": [{"system": "phone", "value": "555-0199"}], "address": [{"line": ["7 canary lane"], "state": "canary lane"}],
    }  # fmt: skip
    fhir["entry"][0]["resource"]["note"] = [{"text": "canary note"}]

    async def scenario(intake: Intake) -> list[str]:
        episode = (await intake.refer("k-1")).json()["episode"]
        await intake.record("e-1")
        await intake.record("e-2", note="canary note, amended")
        await intake.record("e-3", consent=None, identifier="R-2", subject="R-2")
        await intake.record("e-4", client=REFERRAL["client"] | {"birth_date": "canary note"})
        await intake.fhir("", fhir)
        path = f"/v1/clients/{episode}/identity"
        await intake.http.get(path, params={"purpose": "treatment"}, headers={"X-Actor": "matching"})
        answers = [await intake.refer("k-2", client=REFERRAL["client"] | {"phone": "canary note" * 9})]
        for name in ("identifier", "birthDate", "name", "address"):
            broken = deepcopy(fhir)
            broken["entry"][1]["resource"][name] = {"canary note": "Canaryson"}
            answers.append(await intake.fhir("", broken))
        return [answer.text for answer in answers]

    texts = during(database, scenario)
    for table in ("inbox", "state", "timer", "outbox"):
        hexed = "convert_from(value, 'UTF8')" if table == "outbox" else "''"
        rows = query(database.owner_dsn, f"SELECT t::text || {hexed} AS row FROM messaging.{table} t")
        texts += [row["row"] for row in rows]
    assert [(canary, text) for canary in CANARIES for text in texts if canary in text] == []
    assert len(query(database.owner_dsn, "SELECT * FROM identity")) == 2


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the published FHIR examples are not beside this checkout")
def test_published_payloads_go_the_whole_way_or_get_a_reason_with_a_place(database: FreshDatabase) -> None:
    request, patient = "SDOHCC-ServiceRequest-HungerVitalSign-Example-1", "pat-53234"
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": sample(name, PUBLIC / "gravity")} for name in (request, patient)],
    }

    async def scenario(intake: Intake) -> None:
        assert (await intake.fhir("", bundle)).status_code == 200
        validation = sample("validation-request-1.2.0", PUBLIC / "nhs-bars")
        assert (await intake.fhir("/$process-message", validation)).status_code == 200
        others = [p for p in sorted(PUBLIC.glob("*/*.json")) if p.stem != "validation-request-1.2.0"]
        for path in others:
            answer = await intake.fhir("/ServiceRequest", json.loads(path.read_text(encoding="utf-8")))
            assert answer.status_code == 422
            assert all(issue["expression"] for issue in answer.json()["issue"])

    during(database, scenario)
    assert said(database).count("episode-opened") == 2
