"""Topics that nobody waits for are left out for a moment while others bring work, and never forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

import pytest
from aiokafka import TopicPartition
from tests.unit.messaging.test_membership import BOTH, Member, record

from contracts import matching
from contracts.topics import CLINICAL, MATCHING
from messaging import hurry
from messaging.hurry import Hurry
from messaging.routes import Kept, Routes, on

URGENT, PATIENT = TopicPartition("urgent", 0), TopicPartition("patient", 0)
PLACES = {URGENT, PATIENT}


class Turns:
    """A clock and a member's turns, each a batch that came some seconds after it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *unhurried: str) -> None:
        self.now = 100.0
        monkeypatch.setattr(hurry, "monotonic", lambda: self.now)
        self.hurry = Hurry(unhurried)

    def turn(self, came_after: float, took: float = 0.03) -> set[TopicPartition]:
        self.now += came_after
        self.hurry.brought()
        self.now += took
        return set(self.hurry.of(PLACES))


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    return Turns(monkeypatch, "patient")


def test_while_batches_come_at_once_the_patient_topic_is_read_every_fifth_turn(turns: Turns) -> None:
    read = [turns.turn(came_after=0.01) for _ in range(16)]
    assert [PATIENT in places for places in read].count(True) == 4
    assert all(URGENT in places for places in read)


def test_a_batch_that_was_waited_for_has_everything_read(turns: Turns) -> None:
    assert [turns.turn(came_after=0.05) for _ in range(5)] == [PLACES] * 5
    assert not turns.hurry.leaving_out


def test_who_calms_it_is_brought_everything_next(turns: Turns) -> None:
    turns.turn(came_after=0.01)
    assert turns.turn(came_after=0.01) == {URGENT}
    turns.hurry.calm()
    assert turns.hurry.of(PLACES) == PLACES


def test_without_patient_topics_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(monkeypatch)
    assert [turns.turn(came_after=0.01) for _ in range(5)] == [PLACES] * 5


def during(scenario: Callable[[Member], Awaitable[None]]) -> None:
    async def run() -> None:
        member = Member(unhurried=["t"])
        async with asyncio.timeout(20):
            await member.it.on_partitions_assigned(BOTH)  # type: ignore[arg-type]
            await member.brought(5, 6)
            assert member.client.paused() == BOTH, "left out after the second batch, which came at once"
            member.it._progress_at = member.it._commit_at = inf
            await scenario(member)

    asyncio.run(run())


def test_when_nothing_comes_any_more_what_was_left_out_is_read_on() -> None:
    async def scenario(member: Member) -> None:
        await member.it.turned()
        assert member.client.paused() == set()

    during(scenario)


def test_nothing_is_read_on_by_the_way_while_a_batch_is_in_hand() -> None:
    async def scenario(member: Member) -> None:
        member.it._rest()
        await member.it.turned()
        assert member.client.paused() == BOTH

    during(scenario)


def test_under_full_load_everything_is_read() -> None:
    async def scenario(member: Member) -> None:
        await member.it._take([record(offset) for offset in range(7, 507)])
        assert member.client.paused() == set()

    during(scenario)


def test_a_topic_that_is_not_read_cannot_wait() -> None:
    kept = Kept("plan", dict, on(matching.HandoffOffered, lambda *_: None))
    assert Routes(kept, unhurried=[MATCHING]).unhurried == {MATCHING}
    with pytest.raises(ValueError, match=CLINICAL):
        Routes(kept, unhurried=[MATCHING, CLINICAL])
