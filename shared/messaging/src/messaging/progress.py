"""Up to which instant everything was read: limits on somebody's answer run out only when that instant is past them."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import asyncpg
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from contracts.topics import INBOUND
from messaging.consumer import Consumer

NOW = "SELECT messaging.now()"
# Moves the instants of partitions forward, never back.
READ_UP_TO = """
    INSERT INTO messaging.progress (topic, part, read_up_to)
    SELECT * FROM unnest($1::text[], $2::int[], $3::timestamptz[]) AS p (topic, part, instant) ORDER BY topic, part
        ON CONFLICT (topic, part) DO UPDATE SET read_up_to = greatest(progress.read_up_to, excluded.read_up_to)"""
# A partition of which nobody has read anything holds every limit, so it must be there.
BEGIN = """
    INSERT INTO messaging.progress (topic, part)
    SELECT topic, part FROM unnest($1::text[], $2::int[]) AS p (topic, part) ORDER BY topic, part ON CONFLICT DO NOTHING"""

Row = tuple[str, int, datetime]
# The type of a timestamp that the broker did not give (CreateTime): from outside it says nothing about when a record came.
_OF_ITS_SENDER = 0


class Progress:
    """What one member knows of how far its partitions are read.

    Invariant: an instant is written only when everything that the broker had then was handled. So an answer of the broker
    counts from the one before it, after which it was asked for, and its age is measured after the database told the time.
    """

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool
        self._brought: dict[TopicPartition, int] = {}
        self._answered: dict[TopicPartition, tuple[int | None, int | None]] = {}
        self._doubts = self._doubted = 0

    async def begin(self, reading: Any, topics: Sequence[str]) -> None:
        """Every partition of the topics counts from now on, whoever reads it; raises KafkaError while not all are known."""
        parts = {topic: reading.partitions_for_topic(topic) for topic in topics}
        if not all(parts.values()):
            raise UnknownTopicOrPartitionError
        places = [(topic, part) for topic, found in parts.items() for part in found]
        await self._pool.execute(BEGIN, *map(list, zip(*places, strict=True)))

    @contextmanager
    def in_doubt(self) -> Iterator[None]:
        """What the client has passed over may not have been brought: meanwhile no instant is written."""
        self._doubts += 1
        self._doubted += 1
        try:
            yield
        finally:
            self._doubts -= 1

    def brought(self, records: Sequence[ConsumerRecord]) -> None:
        """These have come, and are not handled yet."""
        for place, last in {(r.topic, r.partition): r for r in records}.items():
            self._brought[TopicPartition(*place)] = last.offset + 1

    def forget(self) -> None:
        """The partitions are given away."""
        self._brought, self._answered = {}, {}

    async def write(self, reading: Any, assigned: Collection[TopicPartition], consumer: Consumer) -> None:
        """A partition handled to its end is read up to the broker's last answer but one, another up to its newest record."""
        if self._doubts:
            return
        doubted = self._doubted
        read = {tp: await self._read_until(reading, tp, consumer) for tp in assigned}
        now: datetime = await self._pool.fetchval(NOW)
        rows = [row for tp, at in read.items() if (row := _row(tp, now, at, consumer.newest.get(tp)))]
        if rows and doubted == self._doubted:
            await self._pool.execute(READ_UP_TO, *map(list, zip(*rows, strict=True)))

    async def _read_until(self, reading: Any, tp: TopicPartition, consumer: Consumer) -> int | None:
        """When the broker had nothing but what is handled, in milliseconds of our clock; None while something is unhandled."""
        end, answered = reading.last_stable_offset(tp), reading.last_poll_timestamp(tp)
        last, before = self._answered.get(tp, (None, None))
        if answered != last:
            before = last
            self._answered[tp] = answered, before
        handled = consumer.handled.get(tp)
        if end is None or handled is None or handled < self._brought.get(tp, 0):
            return None
        return before if await _position(reading, tp) >= end else None


async def _position(reading: Any, tp: TopicPartition) -> int:
    """Where the client is; it passes over the markers of transactions, which nobody is brought."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            return int(await reading.position(tp))
    return -1


def _row(tp: TopicPartition, now: datetime, read_until: int | None, newest: tuple[int, int] | None) -> Row | None:
    if read_until is not None:
        age = time() - read_until / 1000
        # Our clock was set back since.
        return (tp.topic, tp.partition, now - timedelta(seconds=age)) if age >= 0 else None
    if newest is None or (tp.topic in INBOUND and newest[1] == _OF_ITS_SENDER):
        return None
    return (tp.topic, tp.partition, datetime.fromtimestamp(newest[0] / 1000, UTC))
