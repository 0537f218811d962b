"""A timeout holds a batch while the database is slow or away; content that is too slow by itself is found and parked."""

import asyncio
from typing import Any

import asyncpg
import pytest
from tests.support import kit
from tests.support.kit import Replica, blocked, during, journal, parked, said, words
from tests.support.stack import FreshDatabase, Infra

from messaging import patience
from messaging.decision import DueTimer, NoContext


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as short as tests like them."""
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE", 0.1)


async def slow_client(connection: Any, messages: Any) -> Any:
    """Whatever concerns the slow ones takes longer than this client waits."""
    if any(is_slow(message) for message in messages):
        await connection.execute("SELECT pg_sleep(1)", timeout=0.1)
    return NoContext()


async def slow_server(connection: Any, messages: Any) -> Any:
    """Whatever concerns the slow ones takes longer than the server allows."""
    if any(is_slow(message) for message in messages):
        await connection.execute("SET statement_timeout = 100; SELECT pg_sleep(1)")
    return NoContext()


def is_slow(message: Any) -> bool:
    parks = type(message.route.handler).__name__ == "Parks"
    slow_bell = isinstance(message.data, DueTimer) and message.subject == "slow"
    return (getattr(message.data, "word", "") == "slow" or slow_bell) and not parks


@pytest.mark.parametrize(
    ("load", "reason"),
    [(slow_client, "unprocessable-TimeoutError"), (slow_server, "unprocessable-QueryCanceledError")],
)
def test_one_record_that_is_too_slow_among_many_is_parked_in_its_lane_and_the_others_are_applied(
    database: FreshDatabase, load: Any, reason: str
) -> None:
    batch = [said("w1", f"s-{n}", do="open") for n in range(8)]
    batch += [said("slow", "s-5"), said("w2", "s-5"), said("w2", "s-6")]

    async def scenario(replica: Replica) -> None:
        await asyncio.wait_for(replica.consumer().take(batch), 30)

    during(database, scenario, load=load)
    assert [row[2:] for row in parked(database)] == [("s-5", reason), ("s-5", "behind-parked")]
    assert [journal(database, f"s-{n}") for n in (4, 5, 6)] == [["w1"], ["w1"], ["w1", "w2"]]
    assert blocked(database, "s-5") == [kit.PORTAL]


def test_a_batch_that_is_slow_once_is_applied_at_its_second_try_and_nothing_is_parked(database: FreshDatabase) -> None:
    tries: list[int] = []

    async def load(connection: Any, messages: Any) -> Any:
        tries.append(len(messages))
        return await slow_client(connection, messages) if len(tries) == 1 else NoContext()

    async def scenario(replica: Replica) -> None:
        await replica.consumer().take([said("w1", do="open"), said("slow"), said("w2")])

    during(database, scenario, load=load)
    assert tries == [3, 0, 3]
    assert (journal(database), parked(database)) == (["w1", "slow", "w2"], [])


def test_a_database_that_does_not_answer_at_all_holds_the_batch_and_parks_nothing(database: FreshDatabase) -> None:
    tries: list[int] = []

    async def load(_: Any, messages: Any) -> Any:
        tries.append(len(messages))
        if len(tries) < 40:
            raise TimeoutError
        return NoContext()

    async def scenario(replica: Replica) -> None:
        await asyncio.wait_for(replica.consumer().take([said("w1", do="open"), *map(said, words(5, 2))]), 20)

    during(database, scenario, load=load)
    assert set(tries) == {6, 0}
    assert (journal(database), parked(database)) == (words(6), [])


def test_who_waits_for_a_lane_that_somebody_holds_is_held_too_and_never_parked_out_of_it(database: FreshDatabase) -> None:
    async def load(connection: Any, _: Any) -> Any:
        await connection.execute("SET statement_timeout = 500")
        return NoContext()

    async def scenario(replica: Replica) -> bool:
        await replica.take(said("w1", do="open"), said("w1", "s-2", do="open"))
        holder = await asyncpg.connect(database.owner_dsn, server_settings={"idle_in_transaction_session_timeout": "0"})
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("SELECT FROM messaging.state WHERE subject = 's-1' FOR UPDATE")
        taking = asyncio.create_task(replica.consumer().take([said("w2"), said("w2", "s-2"), said("w3")]))
        await asyncio.sleep(3)
        held = not taking.done()
        await transaction.rollback()
        await holder.close()
        await asyncio.wait_for(taking, 20)
        return held

    assert during(database, scenario, load=load)
    assert parked(database) == []
    assert (journal(database), journal(database, "s-2")) == (["w1", "w2", "w3"], ["w1", "w2"])


def test_a_timer_that_is_too_slow_backs_off_and_others_fire(database: FreshDatabase) -> None:
    subjects = ("s-1", "slow", "s-2")

    async def scenario(replica: Replica) -> None:
        await replica.take(*(said("w1", subject, do="open") for subject in subjects))
        await replica.take(*(said("w2", subject, do="timer", arg="bell=-1") for subject in subjects))
        await asyncio.wait_for(replica.workers.fire_due(), 20)

    during(database, scenario, load=slow_client)
    assert [journal(database, subject)[2:] for subject in subjects] == [["bell?"], [], ["bell?"]]
    assert [row["reason"] for row in kit.sql(database, "SELECT reason FROM messaging.timer")] == ["timer-TimeoutError"]


def test_a_command_that_is_too_slow_is_told_so_and_tried_by_nobody_but_its_caller(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        door = replica.door()
        turning = asyncio.create_task(door.turn())
        with pytest.raises(TimeoutError):
            await door.handle(kit.envelope_of("k-1"), kit.Asked(word="slow", do="open"))
        await turning

    during(database, scenario, load=slow_client)
    assert journal(database) == []


def test_while_the_database_answers_nobody_a_batch_is_held_and_nothing_is_parked(database: FreshDatabase) -> None:
    """The empty batch that asks whether it answers is asked for true."""
    calls: list[int] = []

    async def load(connection: Any, messages: Any) -> Any:
        calls.append(len(messages))
        if len(calls) < 6:
            await connection.execute("SELECT pg_sleep(1)", timeout=0.05)
        return NoContext()

    async def scenario(replica: Replica) -> None:
        await asyncio.wait_for(replica.consumer().take([said("w1", do="open"), said("w2")]), 30)

    during(database, scenario, load=load)
    assert 0 in calls
    assert (journal(database), parked(database)) == (words(2), [])
