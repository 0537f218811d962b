"""The HTTP edge of operators: every action names who and why, has a key, and is refused with a sentence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.support import kit
from tests.support.kit import Replica, during, journal, parked, said
from tests.support.operators import Mending, acted, looked, operator, stuck
from tests.support.stack import FreshDatabase, Infra

from messaging.http import new_app
from messaging.metrics import Meters
from messaging.operating_api import add_operating

WHO = {"X-Actor": "cli:olga", "Idempotency-Key": "k-1"}


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


@asynccontextmanager
async def asking(replica: Replica) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the replica's API."""

    async def fine() -> dict[str, str]:
        return {}

    app = new_app("kit", fine, fine, Meters())
    add_operating(app, operator(replica))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kit") as client:
        yield client


def test_one_is_seen_retried_and_gone_and_the_same_key_gets_the_same_answer(database: FreshDatabase) -> None:
    mending = Mending()

    async def scenario(replica: Replica) -> None:
        head, _ = await stuck(replica, "w2")
        mending.failing = False
        async with asking(replica) as client:
            listed = (await client.get("/v1/parked", params={"outcome": "parked", "type": "test-said"})).json()
            assert (listed["parked"], listed["waiting"], [row["n"] for row in listed["rows"]]) == (1, 1, [head])
            assert (await client.get(f"/v1/parked/{head}")).json()["lane"][0]["reason"] == "behind-parked"
            answers = [await client.post(f"/v1/parked/{head}/retry", json={}, headers=WHO) for _ in range(2)]
            assert [answer.json().get("duplicate") for answer in answers] == [None, True]
            await looked(replica)
            assert (await client.get(f"/v1/parked/{head}")).status_code == 404

    during(database, scenario, routes=mending.routes)
    assert journal(database) == ["w0", "head", "w2"]
    assert acted(database) == [("s-1", "retry", None)]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/parked/1/retry", {}, {"Idempotency-Key": "k"}, 422), ("/v1/parked/1/retry", {}, {"X-Actor": "olga"}, 422),
        ("/v1/parked/1/retry", {}, {**WHO, "X-Actor": "Olga Sample, M-17"}, 422), ("/v1/parked/1/discard", {}, WHO, 422),
        ("/v1/parked/1/discard", {"reason": "Olga said so"}, WHO, 422), ("/v1/parked/x/retry", {}, WHO, 422),
        ("/v1/parked/99999999999999999999/retry", {}, WHO, 422), ("/v1/parked/99/retry", {}, WHO, 404),
        ("/v1/topics/clinical.inbound.v1/resume", {"reason": "mended"}, WHO, 404), ("/v1/parked/2/retry", {}, WHO, 409),
    ],
)  # fmt: skip
def test_what_is_not_done_says_why_and_leaves_everything_as_it_is(
    database: FreshDatabase, path: str, body: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    async def scenario(replica: Replica) -> httpx.Response:
        await stuck(replica, "w2")
        async with asking(replica) as client:
            return await client.post(path, json=body, headers=headers)

    answer = during(database, scenario)
    assert answer.status_code == status
    assert answer.json()["title"]
    assert "Olga" not in answer.text
    assert [row[0] for row in parked(database)] == ["parked", "waiting"]
    assert acted(database) == []


def test_one_that_is_not_at_the_head_is_told_who_is(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> httpx.Response:
        await stuck(replica, "w2")
        async with asking(replica) as client:
            return await client.post("/v1/parked/2/retry", json={}, headers=WHO)

    told = during(database, scenario).json()
    assert (told["reason"], told["ahead"]) == ("not-at-head", 1)
    assert "row 1 (handler-LookupError)" in told["title"]


def test_a_dry_run_over_http_does_nothing(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        await replica.take(kit.broken(), said("w", "s-1", do="raise"))
        async with asking(replica) as client:
            path, body = "/v1/parked/1/discard", {"reason": "garbage"}
            return (await client.post(path, json=body, headers=WHO, params={"dry_run": True})).json()

    assert during(database, scenario)["dry_run"] is True
    assert len(parked(database)) == 2


def test_pages_go_on_after_the_last_row_seen(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[list[int]]:
        await replica.take(*(kit.broken() for _ in range(5)))
        async with asking(replica) as client:
            pages = [(await client.get("/v1/parked", params={"after": n, "limit": 2})).json()["rows"] for n in (0, 2, 4, 5)]
            return [[row["n"] for row in page] for page in pages]

    assert during(database, scenario) == [[1, 2], [3, 4], [5], []]
