"""Finds the record that kills its readers: taken alone, marked before it is read, and parked unread when it kills again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from messaging.consumer import Take

log = structlog.get_logger()
_WITHOUT_PROGRESS = 3

# Counts assignments that found a partition where the last one left it.
LOOK = """
    INSERT INTO messaging.progress AS p (topic, part, position, attempts)
    SELECT topic, part, position, 1 FROM unnest($1::text[], $2::int[], $3::bigint[]) AS found (topic, part, position)
     ORDER BY topic, part
        ON CONFLICT (topic, part) DO UPDATE SET position = excluded.position,
           attempts = CASE WHEN p.position = excluded.position THEN p.attempts + 1 ELSE 1 END,
           suspect = CASE WHEN p.position = excluded.position THEN p.suspect END
 RETURNING topic, part, attempts, suspect"""
# Marks a record before it is read, unless it is parked unread already.
MARK = """
    UPDATE messaging.progress SET suspect = $3::bigint
     WHERE topic = $1 AND part = $2
       AND NOT EXISTS (SELECT FROM messaging.inbox WHERE source = 'kafka:' || $1 AND id = $2::int || '-' || $3::bigint)
 RETURNING true"""
CLEAR = "UPDATE messaging.progress SET suspect = NULL, attempts = 0 WHERE topic = $1 AND part = $2"


class Suspects:
    """Passes batches on; partitions without progress go record by record until one batch of theirs is through."""

    def __init__(self, pool: "asyncpg.Pool[Any]", take: Take, park: Take) -> None:
        self._pool, self._take, self._park = pool, take, park
        self._careful: dict[TopicPartition, int | None] = {}

    @property
    def way(self) -> Take:
        """How batches are to be taken now: with care, or straight."""
        return self.take if self._careful else self._take

    async def look(self, starts: Mapping[TopicPartition, int]) -> None:
        """At an assignment: where did earlier processes get stuck?"""
        with suppress(asyncpg.PostgresError, OSError):
            places = [(tp.topic, tp.partition, offset) for tp, offset in sorted(starts.items())]
            found = await self._pool.fetch(LOOK, *([place[i] for place in places] for i in range(3)))
            self._careful = {
                TopicPartition(row["topic"], row["part"]): row["suspect"]
                for row in found
                if row["attempts"] >= _WITHOUT_PROGRESS
            }

    async def take(self, records: Sequence[ConsumerRecord]) -> None:
        """One by one, until a batch of every partition that asks for care is through."""
        for record in records:
            await self._alone(record)
        for place in {TopicPartition(record.topic, record.partition) for record in records} & self._careful.keys():
            await self._pool.execute(CLEAR, place.topic, place.partition)
            del self._careful[place]

    async def _alone(self, record: ConsumerRecord) -> None:
        place = TopicPartition(record.topic, record.partition)
        if place in self._careful and self._careful[place] == record.offset:
            log.error("record_killed_its_readers", topic=record.topic, partition=record.partition, offset=record.offset)
            await self._park([record])
            return
        if place in self._careful and not await self._pool.fetchval(MARK, record.topic, record.partition, record.offset):
            return
        await self._take([record])
