"""Up to which instant everything was read: limits on somebody's answer run out only when that instant is past them."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import asyncpg
from aiokafka import TopicPartition

from messaging.consumer import Consumer

# Moves the instants of partitions forward, never back; an age counts from the database's clock.
READ_UP_TO = """
    INSERT INTO messaging.progress (topic, part, read_up_to)
    SELECT topic, part, coalesce(instant, messaging.now() - age)
      FROM unnest($1::text[], $2::int[], $3::timestamptz[], $4::interval[]) AS p (topic, part, instant, age)
     ORDER BY topic, part
        ON CONFLICT (topic, part) DO UPDATE SET read_up_to = greatest(progress.read_up_to, excluded.read_up_to)"""

Row = tuple[str, int, datetime | None, timedelta | None]


async def write(pool: "asyncpg.Pool[Any]", reading: Any, assigned: Collection[TopicPartition], consumer: Consumer) -> None:
    """A partition handled to its end is read up to the broker's last answer; another one up to its newest record handled."""
    rows = [row for tp in assigned if (row := _row(reading, tp, consumer))]
    if rows:
        await pool.execute(READ_UP_TO, *map(list, zip(*rows, strict=True)))


def _row(reading: Any, tp: TopicPartition, consumer: Consumer) -> Row | None:
    end, answered, newest = reading.highwater(tp), reading.last_poll_timestamp(tp), consumer.newest.get(tp)
    if end is not None and answered is not None and consumer.handled.get(tp, -1) >= end:
        return tp.topic, tp.partition, None, timedelta(seconds=time() - answered / 1000)
    return (tp.topic, tp.partition, datetime.fromtimestamp(newest / 1000, UTC), None) if newest else None
