"""Reading a topic to its end ends, also when the broker goes away in the middle."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException

from cli.events import kafka
from cli.evidence.sources import Topic
from cli.stack.errors import StackError

PLACE = TopicPartition("oversight.checkpoints.v1", 0)


class Silenced:
    """A consumer whose broker has `ends` records and stops answering after `brought` of them."""

    def __init__(self, end: int, brought: int) -> None:
        self.end, self.brought, self.at = end, brought, 0

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    async def end_offsets(self, places: set[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, self.end)

    async def position(self, _: TopicPartition) -> int:
        return self.at

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.at = offset

    async def getmany(self, *_: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.at == self.brought:
            await asyncio.sleep(0.01)
            return {}
        self.at += 1
        return {PLACE: [SimpleNamespace(offset=self.at - 1, value=f"w{self.at - 1}".encode())]}


async def _words(consumer: Any) -> list[str]:
    return [record.value.decode() async for record in kafka.up_to_now(consumer)]


async def _notes(consumer: Any) -> list[str]:
    topic = Topic("nowhere:9", closing=SimpleNamespace())  # type: ignore[arg-type]
    topic._consumer = consumer
    return list(await topic.notes())


@pytest.mark.parametrize("read", [_words, _notes])
def test_what_is_there_is_read_to_its_end(read: Callable[[Any], Coroutine[Any, Any, list[str]]]) -> None:
    assert asyncio.run(read(Silenced(end=3, brought=3))) == ["w0", "w1", "w2"]


@pytest.mark.parametrize("read", [_words, _notes])
def test_a_broker_that_stops_answering_is_told_instead_of_waited_for(
    read: Callable[[Any], Coroutine[Any, Any, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "SILENT", 0.05)
    with pytest.raises(StackError, match="the broker stopped answering: 1 partitions were not read to their end"):
        asyncio.run(read(Silenced(end=3, brought=1)))


def test_a_witness_reads_again_what_was_brought_before_the_broker_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "SILENT", 0.05)
    consumer = Silenced(end=3, brought=1)
    with pytest.raises(StackError):
        asyncio.run(_notes(consumer))
    consumer.brought = 3
    assert asyncio.run(_notes(consumer)) == ["w0", "w1", "w2"]


def test_a_witness_reads_again_what_was_brought_before_the_broker_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, bring = Silenced(end=3, brought=3), Silenced.getmany

    async def fails(self: Silenced, *places: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.at == 1:
            raise CorruptRecordException
        return await bring(self, *places, timeout_ms=timeout_ms)

    with monkeypatch.context() as failing:
        failing.setattr(Silenced, "getmany", fails)
        with pytest.raises(CorruptRecordException):
            asyncio.run(_notes(consumer))
    assert asyncio.run(_notes(consumer)) == ["w0", "w1", "w2"]
