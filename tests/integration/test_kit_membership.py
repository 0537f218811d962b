"""A member of a consumer group on the real broker: offsets follow the write; what dies or is revoked is done by the next."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.support import kit
from tests.support.kit import Replica, during, journal, member, parked, publish, replicas, said, sql, until, words
from tests.support.stack import FreshDatabase, Infra

from messaging.suspects import Suspects

ROOT = Path(__file__).parents[2]


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


@pytest.fixture
def topic(infra: Infra) -> str:
    return infra.topics(["said"], partitions=2)["said"]


def stream(count: int) -> list[Any]:
    return [said(word, do="open" if word == "w1" else "write") for word in words(count)]


async def committed(bootstrap: str, group: str, topic: str, partition: int = 0) -> int | None:
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await reader.start()
    try:
        offset: int | None = await reader.committed(TopicPartition(topic, partition))
        return offset
    finally:
        await reader.stop()


async def written(replica: Replica, word: str) -> Any:
    return await replica.pool.fetchval("SELECT 1 FROM messaging.state WHERE body::text LIKE '%' || $1 || '%'", f'"{word}"')


def test_offsets_are_committed_after_the_write_and_once_more_when_the_member_leaves(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    async def scenario(replica: Replica) -> None:
        await publish(infra.bootstrap, topic, stream(20))
        async with member(replica, infra.bootstrap, topic, topic) as membership:
            await until(lambda: written(replica, "w20"))
            membership.turned = none  # type: ignore[method-assign]
            await publish(infra.bootstrap, topic, [said("w21")])
            await until(lambda: written(replica, "w21"))

    async def none() -> None:
        return

    during(database, scenario)
    assert asyncio.run(committed(infra.bootstrap, topic, topic)) == 21
    assert journal(database) == words(21)


def test_what_comes_one_by_one_while_a_small_batch_is_in_hand_is_the_next_batch(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    taken: list[int] = []

    async def scenario(replica: Replica) -> None:
        in_hand, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(records: Sequence[Any]) -> None:
            taken.append(len(records))
            in_hand.set()
            await go_on.wait()

        replica.deciding.take = slowly  # type: ignore[method-assign]
        async with member(replica, infra.bootstrap, topic, topic):
            await publish(infra.bootstrap, topic, [said("w1")])
            await in_hand.wait()
            await asyncio.sleep(0.3)
            for word in words(5):
                await publish(infra.bootstrap, topic, [said(word)])
            go_on.set()
            await until(lambda: asyncio.sleep(0, sum(taken) == 6))

    during(database, scenario)
    assert taken == [1, 5]


def test_a_batch_that_is_held_is_given_up_when_its_partitions_go_and_nothing_of_it_is_committed(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    async def away(_: Any, __: Any) -> Any:
        raise ConnectionError

    async def scenario(healthy: Replica) -> list[int | None]:
        await publish(infra.bootstrap, topic, stream(5))
        async with replicas(database, load=away) as (stuck,), member(stuck, infra.bootstrap, topic, topic) as first:
            await until(lambda: asyncio.sleep(0, first._consumer.in_hand.locked()))
            await asyncio.sleep(0.5)
            offsets = [await committed(infra.bootstrap, topic, topic)]
            async with member(healthy, infra.bootstrap, topic, topic):
                await until(lambda: asyncio.sleep(0, not first._consumer.in_hand.locked() and first.assigned))
                offsets.append(await committed(infra.bootstrap, topic, topic))
        async with member(healthy, infra.bootstrap, topic, topic):
            await until(lambda: written(healthy, "w5"))
        return offsets

    assert [offset or 0 for offset in during(database, scenario)] in ([0, 0], [0, 5])
    assert journal(database) == words(5)


def run_member(infra: Infra, database: FreshDatabase, topic: str, run: int, last: str) -> int:
    """A process of its own; another group each time, so that it begins at the beginning without waiting for the dead."""
    args = [database.runtime_dsn, infra.bootstrap, topic, f"{topic}-{run}", last]
    return subprocess.run([sys.executable, "-m", "tests.support.kit", *args], cwd=ROOT, timeout=60, check=False).returncode


def test_what_a_killed_process_had_in_hand_is_done_once_by_the_next(
    infra: Infra, database: FreshDatabase, topic: str, tmp_path: Path
) -> None:
    records = stream(40)
    records[25] = said("w26", do="exit-once", arg=str(tmp_path / "killed"))
    asyncio.run(publish(infra.bootstrap, topic, records))
    assert run_member(infra, database, topic, 1, "w40") == -9
    assert (journal(database), parked(database)) == ([], [])
    assert run_member(infra, database, topic, 2, "w40") == 0
    assert (journal(database), parked(database)) == (words(40), [])
    assert [n for _, n, _ in kit.outbox(database)] == list(range(1, 41))


def test_a_record_that_kills_its_readers_is_parked_unread_and_its_partition_goes_on(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    killer = said("killer", "s-2", do="exit")
    asyncio.run(publish(infra.bootstrap, topic, [*stream(3), killer, said("w4")]))
    assert [run_member(infra, database, topic, run, "w4") for run in range(5)] == [9, 9, 9, 9, 0]
    assert journal(database) == words(4)
    rows = sql(database, "SELECT reason, part, position, value FROM messaging.parked")
    assert [tuple(row) for row in rows] == [("killed-its-readers", 0, 3, killer.value)]


class Died(BaseException):
    """As good as a kill: nothing of ours runs after it."""


class Reader:
    """Suspects over processes that come and go; `deadly` offsets kill whoever takes them."""

    def __init__(self, replica: Replica, deadly: set[int]) -> None:
        self.replica, self.deadly, self.taken, self.parked = replica, deadly, list[int](), list[int]()
        self.park_kills = False
        self.new_process()

    def new_process(self) -> None:
        self.suspects = Suspects(self.replica.pool, self._take, self._park)

    async def _take(self, records: Any) -> None:
        for record in records:
            if record.offset in self.deadly:
                raise Died
        self.taken += [record.offset for record in records]

    async def _park(self, records: Any) -> None:
        if self.park_kills:
            raise Died
        self.parked += [record.offset for record in records]
        place = "INSERT INTO messaging.inbox VALUES ('kafka:t', $1, '', 'parked', NULL, now())"
        await self.replica.pool.executemany(place, [(f"{record.partition}-{record.offset}",) for record in records])

    async def live(self, start: int, offsets: range) -> bool:
        """One life: an assignment at `start`, then one batch; False when it died."""
        self.new_process()
        await self.suspects.look({TopicPartition("t", 0): start})
        try:
            take, _ = self.suspects.way
            await take([said("x", topic="t", offset=offset) for offset in offsets])
        except Died:
            return False
        return True


def test_only_the_record_that_was_taken_alone_and_killed_is_parked(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> tuple[list[bool], list[int], list[int]]:
        reader = Reader(replica, {12})
        lives = [await reader.live(10, range(10, 15)) for _ in range(5)]
        return lives, reader.taken[-4:], reader.parked

    assert during(database, scenario) == ([False] * 4 + [True], [10, 11, 13, 14], [12])


def test_two_records_that_kill_are_both_found(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> tuple[list[bool], list[int]]:
        reader = Reader(replica, {11, 13})
        return [await reader.live(10, range(10, 15)) for _ in range(7)], reader.parked

    assert during(database, scenario) == ([False] * 6 + [True], [11, 13])


def test_a_record_that_was_taken_alone_and_survived_is_not_parked_when_its_process_ends_before_the_offsets_are_committed(
    database: FreshDatabase,
) -> None:
    async def scenario(replica: Replica) -> list[int]:
        reader = Reader(replica, set())
        for _ in range(4):
            await reader.live(10, range(10, 10))
        for _ in range(3):
            assert await reader.live(10, range(10, 12))
        return reader.parked

    assert during(database, scenario) == []


def test_a_record_that_was_through_when_its_process_was_killed_is_not_parked(database: FreshDatabase) -> None:
    """Its mark is still there: one end is no proof, and the killer that comes after it is found."""

    async def scenario(replica: Replica) -> tuple[list[bool], list[int]]:
        reader = Reader(replica, {12})
        reader.park_kills = True
        lives = [await reader.live(10, range(10, 15)) for _ in range(5)]
        reader.park_kills = False
        return [*lives, await reader.live(10, range(10, 15))], reader.parked

    assert during(database, scenario) == ([False] * 5 + [True], [12])


def test_a_record_that_is_held_while_its_partition_goes_to_others_is_not_accused(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[int]:
        reader = Reader(replica, {10})
        for _ in range(6):
            await reader.live(10, range(10, 12))
            await reader.suspects.part()
        return reader.parked

    assert during(database, scenario) == []


def test_a_partition_in_which_nothing_is_read_is_not_without_progress(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> bool:
        reader = Reader(replica, set())
        for _ in range(5):
            reader.new_process()
            await reader.suspects.meet([])
        await reader.suspects.meet([said("x", topic="t", offset=10)])
        return reader.suspects.way == (reader.suspects.take, None)

    assert not during(database, scenario)


def test_progress_anywhere_ends_the_care(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> bool:
        reader = Reader(replica, {12})
        for _ in range(3):
            await reader.live(10, range(10, 15))
        await reader.live(11, range(11, 11))
        return reader.suspects.way == (reader.suspects.take, None)

    assert not during(database, scenario)


def test_a_client_of_the_database_that_cannot_ask_holds_nobody_up(database: FreshDatabase) -> None:
    async def nothing(_: Sequence[Any]) -> None:
        return

    async def scenario(replica: Replica) -> None:
        await replica.pool.close()
        suspects = Suspects(replica.pool, nothing, nothing)
        await suspects.meet([said("x", topic="t", offset=10)])
        await suspects.part()

    during(database, scenario)
