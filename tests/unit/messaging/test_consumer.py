"""What the consumer loop remembers of a batch that is through."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from contracts.topics import CLINICAL, INTAKE
from messaging.consumer import Consumer
from messaging.metrics import Meters

_OF_ITS_SENDER, _OF_THE_BROKER = 0, 1


def record(topic: str, stamped: int, offset: int = 5) -> Any:
    return SimpleNamespace(topic=topic, partition=0, offset=offset, timestamp=1_000, timestamp_type=stamped)


async def nothing(_: Sequence[Any]) -> None:
    """Handles whatever comes."""


@pytest.mark.parametrize(
    ("topic", "stamped", "known"),
    [(CLINICAL, _OF_THE_BROKER, {1_000}), (CLINICAL, _OF_ITS_SENDER, set()), (INTAKE, _OF_ITS_SENDER, {1_000})],
)
def test_how_far_was_read_is_never_told_by_the_clock_of_a_sender_outside(topic: str, stamped: int, known: set[int]) -> None:
    async def scenario() -> Consumer:
        consumer = Consumer(nothing, Meters())
        await consumer.take([record(topic, stamped)])
        return consumer

    consumer = asyncio.run(scenario())
    assert consumer.handled == {TopicPartition(topic, 0): 6}
    assert set(consumer.newest.values()) == known
