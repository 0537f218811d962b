"""Runs the simulator on a broker: reads what the services publish, sends what people answer, tells an observer of it all."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from cli.demo.simulator import Simulator
from contracts.topics import FOLLOWUP, INTAKE, MATCHING, PARTITIONS

EVERYTHING = (INTAKE, MATCHING, FOLLOWUP)
# Requests cost more than records: what is heard within so many seconds is answered together, and then at once.
_BREATH = 0.005
Observer = Callable[[Any], None]


class Playground:
    """An async context in which everybody answers what is said on these topics; `quiet_for` says how long nothing was heard."""

    def __init__(self, bootstrap: str, simulator: Simulator, observe: Observer, topics: Sequence[str] = EVERYTHING) -> None:
        self._bootstrap, self._simulator, self._observe, self._topics = bootstrap, simulator, observe, topics
        self._heard_at = monotonic()

    async def __aenter__(self) -> Self:
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 * 1024
        )
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )
        await self.producer.start()
        await self._consumer.start()
        self._consumer.assign(_partitions(self._topics))
        self._task = asyncio.create_task(self._play())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._consumer.stop()
        await self.producer.stop()

    def quiet_for(self) -> float:
        """Seconds since the last event was read."""
        if self._task.done():
            self._task.result()
        return monotonic() - self._heard_at

    async def from_now_on(self) -> None:
        """Passes over everything that was said before."""
        await self._consumer.seek_to_end()

    async def written(self) -> Counter[str]:
        """How many records each topic of the three has, read here or not."""
        ends = await self._consumer.end_offsets(_partitions(EVERYTHING))
        return sum((Counter({place.topic: end}) for place, end in ends.items()), Counter())

    async def _play(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=200, max_records=2000)
            records = [record for batch in batches.values() for record in batch]
            if records:
                self._heard_at = monotonic()
                await self._answer(records)
                await asyncio.sleep(_BREATH)

    async def _answer(self, records: Sequence[Any]) -> None:
        for record in records:
            self._observe(record)
            for reply in self._simulator.react(record.headers, record.value):
                await self.producer.send(**reply.record())


def _partitions(topics: Sequence[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, n) for topic in topics for n in range(PARTITIONS)]
