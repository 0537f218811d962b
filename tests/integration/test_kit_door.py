"""Commands that come together are decided together, and each caller gets its own answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support import kit
from tests.support.kit import Asked, Replica, during, envelope_of, journal, said
from tests.support.stack import FreshDatabase, Infra

from messaging.decision import NoContext
from messaging.door import Door
from messaging.http import new_app
from messaging.message import Answer
from messaging.metrics import Meters
from messaging.parking import Unanswerable
from messaging.trouble import Contended, NewerState


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


@asynccontextmanager
async def turning(door: Door) -> AsyncIterator[None]:
    async def turn() -> None:
        while True:
            await door.turn()

    task = asyncio.create_task(turn())
    try:
        yield
    finally:
        task.cancel()


async def ask(door: Door, key: str, word: str, subject: str = "s-1", do: str = "write") -> Answer | BaseException:
    try:
        return await door.handle(envelope_of(key, subject), Asked(word=word, do=do))
    except Exception as error:
        return error


def test_commands_that_come_together_are_one_batch_and_each_gets_its_own_answer(database: FreshDatabase) -> None:
    batches: list[int] = []

    async def load(_: Any, messages: Any) -> Any:
        batches.append(len(messages))
        return NoContext()

    async def scenario(replica: Replica) -> list[Any]:
        door = replica.door()
        async with turning(door):
            await ask(door, "k-0", "w0", do="open")
            answers = await asyncio.gather(*(ask(door, f"k-{n}", f"w{n}") for n in range(1, 51)))
        return [answer.reply for answer in answers if isinstance(answer, Answer)]

    assert during(database, scenario, load=load) == [{"number": n} for n in range(2, 52)]
    assert sorted(batches) in ([1, 1, 49], [1, 50])
    assert len(journal(database)) == 51


def test_a_command_that_our_code_cannot_process_fails_alone_and_may_be_asked_again(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[Any]:
        door = replica.door()
        async with turning(door):
            await ask(door, "k-0", "w0", do="open")
            does = ["write", "raise", "nul", "refuse", "early", "write"]
            return await asyncio.gather(*(ask(door, f"k-{n}", f"w{n}", do=do) for n, do in enumerate(does, 1)))

    one, failed, unkept, refused, early, last = during(database, scenario)
    assert isinstance(failed, Unanswerable)
    assert failed.reason == "LookupError"
    assert isinstance(unkept, asyncpg.DataError)
    assert [(a.outcome, a.reason) for a in (one, refused, early, last)] == [
        ("applied", None), ("refused", "not-now"), ("early", "not-yet"), ("applied", None),
    ]  # fmt: skip
    assert journal(database) == ["w0", "w1", "w6"]
    assert ("k-2" in str(kit.inbox(database)), kit.parked(database)) == (False, [])


def test_a_command_with_content_that_nobody_can_keep_is_refused(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> Any:
        door = replica.door()
        async with turning(door):
            return await ask(door, "k-1", "a\0b", do="open")

    answer = during(database, scenario)
    assert (answer.outcome, answer.reason) == ("refused", "schema-null-character")


def test_a_caller_is_answered_in_time_though_nobody_turns_and_its_command_is_not_done_later(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[Any]:
        door = replica.door(answer_within=0.1)
        answers = await asyncio.gather(ask(door, "k-1", "w1", do="open"), ask(door, "k-2", "w2", do="open"))
        door._answer_within = 5.0
        async with turning(door):
            return [*answers, await ask(door, "k-3", "w3", do="open")]

    late, later, done = during(database, scenario)
    assert isinstance(late, TimeoutError)
    assert isinstance(later, TimeoutError)
    assert done.outcome == "applied"
    assert journal(database) == ["w3"]


def test_a_full_door_answers_in_time_too() -> None:
    async def run() -> float:
        door = Door(kit.ROUTES, object(), 1, answer_within=0.1)  # type: ignore[arg-type]
        door._asked = asyncio.Queue(maxsize=1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = await asyncio.gather(*(ask(door, f"k-{n}", "w") for n in range(3)))
        assert all(isinstance(answer, TimeoutError) for answer in answers)
        return loop.time() - began

    assert asyncio.run(run()) < 2


def test_commands_and_events_about_one_subject_take_turns(database: FreshDatabase) -> None:
    async def scenario(one: Replica, two: Replica) -> None:
        door = one.door()
        async with turning(door):
            await ask(door, "k-0", "w0", do="open")
            asks = [ask(door, f"k-{n}", f"c{n}") for n in range(1, 11)]
            await asyncio.gather(*asks, *(two.take(said(f"e{n}")) for n in range(10)))

    during(database, scenario, count=2)
    assert sorted(journal(database)) == sorted(["w0", *(f"c{n}" for n in range(1, 11)), *(f"e{n}" for n in range(10))])
    assert [n for _, n, _ in kit.outbox(database)] == list(range(1, 22))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TimeoutError(), 503), (ConnectionError(), 503), (asyncpg.AdminShutdownError("x"), 503), (Contended(), 503),
        (asyncpg.InterfaceError("the pool is closing"), 503), (NewerState("journal"), 503), (Unanswerable("LookupError"), 500),
        (asyncpg.UntranslatableCharacterError("a canary"), 500), (LookupError("a canary"), 500),
    ],
)  # fmt: skip
def test_who_may_try_again_is_told_so_and_nobody_is_told_what_stood_there(error: Exception, status: int) -> None:
    async def well() -> dict[str, str]:
        return {}

    app = new_app("test", well, well, Meters())

    @app.get("/fails")
    async def fails() -> None:
        raise error

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.get("/fails")

    answer = asyncio.run(run())
    assert (answer.status_code, "canary" in answer.text) == (status, False)
    assert answer.json().get("retry") == (True if status == 503 else None)
