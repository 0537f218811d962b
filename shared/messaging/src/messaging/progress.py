"""Up to which instant everything was read: limits on somebody's answer run out only when that instant is past them."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import asyncpg
from aiokafka import ConsumerRecord, TopicPartition

# Moves the instants of partitions forward, never back; an age counts from the database's clock.
READ_UP_TO = """
    INSERT INTO messaging.progress (topic, part, read_up_to)
    SELECT topic, part, coalesce(instant, messaging.now() - age)
      FROM unnest($1::text[], $2::int[], $3::timestamptz[], $4::interval[]) AS p (topic, part, instant, age)
     ORDER BY topic, part
        ON CONFLICT (topic, part) DO UPDATE SET read_up_to = greatest(progress.read_up_to, excluded.read_up_to)"""

Row = tuple[str, int, datetime | None, timedelta | None]


class Progress:
    """The instants of this process's partitions, written about once a second."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool
        self._newest: dict[TopicPartition, int] = {}

    def saw(self, records: Sequence[ConsumerRecord]) -> None:
        """These records were handled."""
        self._newest |= {TopicPartition(r.topic, r.partition): r.timestamp for r in records}

    async def write(self, consumer: Any, assigned: Collection[TopicPartition]) -> None:
        """A partition read to its end is read up to the broker's last answer; another one up to its newest record."""
        rows = [row for tp in assigned if (row := await self._row(tp, consumer))]
        if rows:
            await self._pool.execute(READ_UP_TO, *map(list, zip(*rows, strict=True)))

    async def _row(self, tp: TopicPartition, consumer: Any) -> Row | None:
        end, answered = consumer.highwater(tp), consumer.last_poll_timestamp(tp)
        if end is not None and answered is not None and await consumer.position(tp) >= end:
            return tp.topic, tp.partition, None, timedelta(seconds=time() - answered / 1000)
        newest = self._newest.get(tp)
        return (tp.topic, tp.partition, datetime.fromtimestamp(newest / 1000, UTC), None) if newest else None
