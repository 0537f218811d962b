"""What a member does when database or broker fail just while partitions come or go: it goes on with the next assignment."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import time
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from faststream.kafka import KafkaBroker

from messaging.membership import Membership, breath_after
from messaging.metrics import Meters
from messaging.progress import BEGIN, READ_UP_TO, Progress
from messaging.suspects import CLEAR, LOOK, Suspects

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
BOTH = {ONE, TWO}


class Client:
    """As much of a consumer as a member asks; of partition 0 offset 5 is committed, of the other nothing ever was."""

    def __init__(self) -> None:
        self.sought: list[tuple[TopicPartition, int]] = []
        self.resting = set[TopicPartition]()
        self._client = SimpleNamespace(_metadata_update=None, send=None)

    def assignment(self) -> set[TopicPartition]:
        return BOTH

    def paused(self) -> set[TopicPartition]:
        return set(self.resting)

    def pause(self, *places: TopicPartition) -> None:
        self.resting |= set(places)

    def resume(self, *places: TopicPartition) -> None:
        self.resting -= set(places)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.sought.append((place, offset))

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0, 1}

    async def committed(self, place: TopicPartition) -> int | None:
        return 5 if place == ONE else None

    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def commit(self, _: Any) -> None: ...


class Pool:
    """A database that knows nothing and takes everything."""

    def __init__(self) -> None:
        self.executed: list[tuple[Any, ...]] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.found: list[Any] = []
        self.asked: list[str] = []

    async def fetch(self, statement: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(statement)
        if self.meanwhile:
            await self.meanwhile()
        return self.found

    async def fetchval(self, *_: Any, **__: Any) -> datetime:
        if self.meanwhile:
            await self.meanwhile()
        return datetime.now(UTC)

    async def execute(self, *values: Any, **__: Any) -> None:
        self.executed.append(values)


def record(offset: int) -> Any:
    return SimpleNamespace(topic="t", partition=0, offset=offset, timestamp=1, timestamp_type=1, headers=[], value=b"")


class Member:
    def __init__(self) -> None:
        self.done: list[int] = []
        self.rested: list[set[TopicPartition]] = []
        self.client, self.pool = Client(), Pool()
        pool: Any = self.pool
        self.it = Membership(KafkaBroker("nowhere:1"), "g", ["t"], self._take, self._take, pool, Meters(), 500, 20, breath=0)
        self.it._subscriber.consumer = self.client

    async def _take(self, records: Sequence[Any]) -> None:
        self.done += [record.offset for record in records]
        self.rested.append(self.client.paused())

    async def brought(self, *offsets: int) -> None:
        for offset in offsets:
            await self.it._take([record(offset)])


def during(scenario: Callable[[Member], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await scenario(Member())

    asyncio.run(run())


@pytest.mark.parametrize("error", [asyncpg.InternalClientError("cut"), KafkaTimeoutError(), ZeroDivisionError()])
def test_what_fails_while_partitions_go_does_not_stop_what_comes_under_the_next_assignment(error: Exception) -> None:
    async def scenario(member: Member) -> None:
        await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
        await member.brought(5)

        async def fails(_: Any) -> None:
            raise error

        member.it._heard.flush = fails  # type: ignore[method-assign, assignment]
        await asyncio.gather(member.it.on_partitions_revoked(BOTH), return_exceptions=True)  # type: ignore[arg-type]
        del member.it._heard.flush
        await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
        await member.brought(5, 6)
        assert member.done == [5, 5, 6]

    during(scenario)


def test_until_it_is_known_where_partitions_begin_nothing_is_handled_and_it_is_asked_again() -> None:
    async def scenario(member: Member) -> None:
        asked, answer = 0, member.client.beginning_offsets

        async def late(places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise KafkaTimeoutError
            return await answer(places)

        member.client.beginning_offsets = late  # type: ignore[method-assign]
        await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
        taking = asyncio.create_task(member.brought(5))
        await asyncio.sleep(0.05)
        assert (member.done, member.it.missing()) == ([], "where its partitions begin is not known yet")
        await member.it._look_up_starts()
        await taking
        assert member.done == [5]
        assert member.it._consumer.handled == {ONE: 6, TWO: 0}

    during(scenario)


def test_an_answer_about_partitions_that_went_meanwhile_says_nothing_about_those_that_came() -> None:
    async def scenario(member: Member) -> None:
        go_on, answer = asyncio.Event(), member.client.beginning_offsets

        async def late(places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
            await go_on.wait()
            return await answer(places)

        member.client.beginning_offsets = late  # type: ignore[method-assign]
        first = asyncio.create_task(member.it.on_partitions_assigned(BOTH))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        await member.it.on_partitions_revoked(BOTH)  # type: ignore[arg-type]
        go_on.set()
        await first
        assert member.it._consumer.handled == {}
        assert not member.it._looked.is_set()

    during(scenario)


def test_every_partition_of_its_topics_holds_limits_also_one_that_nobody_has_read_yet() -> None:
    async def scenario(member: Member) -> None:
        await member.it.on_partitions_assigned({ONE})  # type: ignore[arg-type]
        assert member.pool.executed == [(BEGIN, ["t", "t"], [0, 1])]

    during(scenario)


def test_the_more_a_batch_held_the_shorter_the_pause_for_more_and_a_slow_one_asks_for_longer() -> None:
    def ms(count: int, took: float) -> float:
        return round(breath_after(count, took, breath=0.02, largest=500) * 1000, 1)

    assert [ms(count, 0.01) for count in (1, 50, 100, 200, 499)] == [20.0, 18.8, 15.0, 1.7, 1.7]
    assert [ms(100, took) for took in (0.0005, 0.06, 0.12, 60)] == [8.0, 15.0, 20.0, 100.0]


def test_fetching_rests_while_a_batch_is_in_hand_but_for_the_largest_behind_which_more_is_waiting() -> None:
    async def scenario(member: Member) -> None:
        await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
        for count in (499, 500):
            await member.it._take([record(offset) for offset in range(count)])
        assert member.it._taking
        await member.it._taking
        assert member.rested == [BOTH, set()]
        assert not member.client.resting

    during(scenario)


class Read:
    """A partition whose broker answered twice that it has no more than was handled, the last but one `age` seconds ago."""

    def __init__(self, age: float) -> None:
        self.answers = [int((time() - age) * 1000), int((time() - age + 1) * 1000)]
        self.handled, self.newest = {ONE: 5}, dict[TopicPartition, int]()

    def last_stable_offset(self, _: TopicPartition) -> int:
        return 5

    def last_poll_timestamp(self, _: TopicPartition) -> int:
        return self.answers.pop(0)

    async def position(self, _: TopicPartition) -> int:
        return 5


async def _written(age: float, in_doubt: bool = False) -> list[datetime]:
    pool, read = Pool(), Read(age)
    progress, asked = Progress(pool), (read, {ONE}, read)  # type: ignore[arg-type]
    await progress.write(*asked)  # type: ignore[arg-type]
    if in_doubt:
        with progress.in_doubt():
            await progress.write(*asked)  # type: ignore[arg-type]
    else:
        await progress.write(*asked)  # type: ignore[arg-type]
    return [at for statement, *columns in pool.executed if statement == READ_UP_TO for at in columns[2]]


def test_a_partition_is_read_up_to_the_last_answer_but_one() -> None:
    (at,) = asyncio.run(_written(30))
    assert 29 < (datetime.now(UTC) - at).total_seconds() < 31


def test_no_instant_is_written_while_what_was_passed_over_is_not_brought_again() -> None:
    assert asyncio.run(_written(30, in_doubt=True)) == []


def test_no_instant_is_written_when_a_doubt_ended_while_it_was_found() -> None:
    async def scenario() -> list[tuple[Any, ...]]:
        pool, read = Pool(), Read(30)
        progress = Progress(pool)  # type: ignore[arg-type]
        await progress.write(read, {ONE}, read)  # type: ignore[arg-type]

        async def doubted() -> None:
            with progress.in_doubt():
                await asyncio.sleep(0)

        pool.meanwhile = doubted
        await progress.write(read, {ONE}, read)  # type: ignore[arg-type]
        return pool.executed

    assert asyncio.run(scenario()) == []


def test_a_clock_that_was_set_back_moves_no_instant_into_the_future() -> None:
    assert asyncio.run(_written(-60)) == []


def test_care_for_partitions_that_went_while_it_was_asked_for_is_not_taken() -> None:
    async def scenario(member: Member) -> None:
        suspects = Suspects(member.pool, member._take, member._take)  # type: ignore[arg-type]
        member.pool.found = [{"topic": "t", "part": 0, "attempts": 3, "guilty": None}]
        await suspects.look({ONE: 5})
        assert suspects.way == (suspects.take, None)
        await suspects.part()
        member.pool.meanwhile = suspects.part
        await suspects.look({ONE: 5})
        assert suspects.way == (member._take, None)

    during(scenario)


def test_care_lasts_until_offsets_are_committed_so_that_what_kills_behind_the_first_batch_is_marked() -> None:
    async def scenario(member: Member) -> None:
        member.pool.found = [{"topic": "t", "part": 0, "attempts": 3, "guilty": None}]
        suspects = Suspects(member.pool, member._take, member._take)  # type: ignore[arg-type]
        await suspects.look({ONE: 5})
        await suspects.take([record(5)])
        assert suspects.way == (suspects.take, None)
        await suspects.committed({TWO})
        assert suspects.way == (suspects.take, None)
        await suspects.committed({ONE, TWO})
        assert suspects.way == (member._take, None)
        assert member.pool.executed[1:] == [(CLEAR, "t", 0)]

    during(scenario)


def test_a_batch_that_is_given_up_asks_nothing_of_partitions_that_went() -> None:
    async def scenario(member: Member) -> None:
        await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
        went = asyncio.Event()

        async def partitions_go() -> None:
            member.pool.meanwhile = None
            await member.it.on_partitions_revoked(BOTH)  # type: ignore[arg-type]
            went.set()

        member.it._stops.doubt()
        member.pool.meanwhile = partitions_go
        await member.brought(300)
        assert went.is_set()
        assert (member.pool.asked.count(LOOK), member.done) == (0, [])
        await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
        await member.brought(5)
        assert (member.pool.asked.count(LOOK), member.done) == (1, [5])

    during(scenario)


def test_a_partition_that_only_rested_while_its_topic_was_stopped_is_read_on() -> None:
    async def scenario(member: Member) -> None:
        await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
        member.it._rest()
        member.it._stops.topics = {"t": 50}
        member.it._read_on()
        assert member.client.resting == set()
        member.it._stops.hold(member.client, ONE)
        member.it._rest()
        member.it._read_on()
        assert member.client.resting == {ONE}
        await member.it._stops.look(member.client)
        assert member.client.resting == set()

    during(scenario)
