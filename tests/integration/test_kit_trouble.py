"""Trouble of the infrastructure holds a batch, bad content is found and parked alone, and the loop itself never raises."""

import asyncio
from typing import Any

import asyncpg
import pytest
from tests.support import kit
from tests.support.kit import Replica, blocked, during, journal, parked, said, words
from tests.support.stack import FreshDatabase, Infra

from messaging import patience
from messaging.consumer import Consumer
from messaging.decision import NoContext
from messaging.metrics import Meters
from messaging.routes import Kept, Routes, on


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as short as tests like them."""
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE", 0.1)


def test_one_poisonous_record_among_five_hundred_is_parked_and_the_others_are_applied_in_order(
    database: FreshDatabase,
) -> None:
    batch = [said("w1", f"s-{n % 50}", do="open" if n < 50 else "write") for n in range(500)]
    batch[321] = said("poison", "s-21", do="nul", source="/other")

    async def scenario(replica: Replica) -> None:
        await replica.consumer().take(batch)

    during(database, scenario)
    assert [row[1:] for row in parked(database)] == [("/other", "s-21", "unprocessable-UntranslatableCharacterError")]
    assert sum(len(journal(database, f"s-{n}")) for n in range(50)) == 499


@pytest.mark.parametrize("value", [b'{"word":"a\\u0000b"}', b'{"word":"\\ud800"}', b'{"word":"x"', b"\xff"])
def test_content_that_nobody_can_keep_is_parked_before_it_reaches_the_database(database: FreshDatabase, value: bytes) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.consumer().take([said("w1", do="open"), said("x", value=value), said("w2")])

    during(database, scenario)
    assert (journal(database), [row[0] for row in parked(database)]) == (["w1", "w2"], ["parked"])


@pytest.mark.parametrize("broken", ["subject", "invalid_subject"])
def test_a_reader_of_ours_that_fails_parks_its_record_alone(database: FreshDatabase, broken: str) -> None:
    def fails(_: Any) -> str:
        raise LookupError("a canary")

    def subject(event: kit.Said) -> str:
        return fails(event) if event.word == "poison" else "s-1"

    routes = Routes(Kept("journal", kit.Journal, on(kit.Said, kit.on_said, subject=subject, invalid_subject=fails)))
    poison = said("poison") if broken == "subject" else said("x", value=b'{"wrong": 1}')

    async def scenario(replica: Replica) -> None:
        await asyncio.wait_for(replica.consumer().take([said("w1", do="open"), poison, said("w2")]), 5)

    during(database, scenario, routes=routes)
    assert (journal(database), [row[3] for row in parked(database)]) == (["w1", "w2"], ["unreadable-LookupError"])


def test_a_state_that_cannot_be_read_parks_what_concerns_it_and_nothing_else(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        consumer = replica.consumer()
        await consumer.take([said("w1", s, do="open") for s in ("s-1", "s-2")])
        await replica.pool.execute("UPDATE messaging.state SET body = '{\"words\": 7}' WHERE subject = 's-1'")
        await consumer.take([said("w2", s) for s in ("s-1", "s-2")])

    during(database, scenario)
    assert journal(database, "s-2") == ["w1", "w2"]
    assert [row[3] for row in parked(database)] == ["unprocessable-ValidationError"]


def test_nothing_overtakes_what_came_while_its_state_could_not_be_read(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        consumer = replica.consumer()
        await consumer.take([said("w1", do="open")])
        whole = await replica.pool.fetchval("SELECT body::text FROM messaging.state WHERE subject = 's-1'")
        await replica.pool.execute("UPDATE messaging.state SET body = '{\"words\": 7}' WHERE subject = 's-1'")
        await consumer.take([said("w2")])
        await replica.pool.execute("UPDATE messaging.state SET body = $1::text::jsonb WHERE subject = 's-1'", whole)
        await consumer.take([said("w3")])

    during(database, scenario)
    assert journal(database) == ["w1"]
    assert [row[::3] for row in parked(database)] == [("parked", "unprocessable-ValidationError"), ("waiting", "behind-parked")]
    assert blocked(database) == [kit.PORTAL]


class Cut:
    """Ends our connections so many times, between the read and the write."""

    def __init__(self, superuser_dsn: str, times: int) -> None:
        self.dsn, self.times = superuser_dsn, times

    async def __call__(self, connection: Any, _: Any) -> Any:
        if self.times:
            self.times -= 1
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            other = await asyncpg.connect(self.dsn)
            await other.execute("SELECT pg_terminate_backend($1)", pid)
            await other.close()
        return NoContext()


def test_a_batch_is_held_while_its_connection_dies_and_then_written_once(infra: Infra, database: FreshDatabase) -> None:
    batch = [said(word, do="open" if word == "w1" else "write") for word in words(20)]
    cut = Cut(infra.superuser_dsn, 3)

    async def scenario(replica: Replica) -> None:
        consumer = replica.consumer()
        await asyncio.wait_for(consumer.take(batch), 20)
        assert consumer.handled

    during(database, scenario, load=cut)
    assert cut.times == 0
    assert (journal(database), parked(database)) == (words(20), [])


def test_what_fails_for_every_record_parks_none_and_holds_the_batch_until_it_works(database: FreshDatabase) -> None:
    """As when rights are missing after a restore: nothing can be written, parking included."""
    role = "test_runtime"

    async def scenario(replica: Replica) -> bool:
        consumer = replica.consumer()
        await consumer.take([said("w1", do="open")])
        await asyncio.to_thread(kit.as_owner, database, f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA messaging FROM {role}")
        taking = asyncio.create_task(consumer.take([said("w2")]))
        await asyncio.sleep(0.3)
        held = not taking.done()
        await asyncio.to_thread(kit.as_owner, database, f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA messaging TO {role}")
        await asyncio.wait_for(taking, 10)
        return held

    assert during(database, scenario)
    assert (journal(database), parked(database)) == (["w1", "w2"], [])


@pytest.mark.parametrize(
    "error",
    [LookupError("x"), ConnectionError(), TimeoutError(), RecursionError(), MemoryError(), asyncpg.InternalServerError("x")],
)
def test_the_loop_never_raises_whatever_its_handler_does_and_ends_when_its_partitions_are_revoked(error: Exception) -> None:
    async def run() -> tuple[int, bool]:
        tries = 0

        async def handle(records: Any) -> None:
            nonlocal tries
            tries += 1
            raise error

        consumer = Consumer(handle, Meters())
        taking = asyncio.create_task(consumer.take([said("w1")]))
        await asyncio.sleep(0.3)
        assert not taking.done()
        consumer.given_up.set()
        await asyncio.wait_for(taking, 2)
        return tries, bool(consumer.handled)

    tries, handled = asyncio.run(run())
    assert tries > 1
    assert not handled


def test_the_server_ends_a_transaction_in_which_our_process_is_frozen(database: FreshDatabase) -> None:
    """Its rows and shards are free again, so another replica goes on."""

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"))
        frozen = await asyncpg.connect(database.runtime_dsn, server_settings={"idle_in_transaction_session_timeout": "300"})
        await frozen.execute("BEGIN")
        await frozen.execute("SELECT FROM messaging.state FOR UPDATE")
        await asyncio.wait_for(replica.take(said("w2")), 5)
        frozen.terminate()

    during(database, scenario)
    assert journal(database) == ["w1", "w2"]
