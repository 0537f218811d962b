"""Finds the record that kills its readers: taken alone, marked before it is read, and parked unread when it kills again."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from messaging.consumer import Take
from messaging.trouble import OF_DATABASE

log = structlog.get_logger()
_WITHOUT_PROGRESS, _KILLS = 3, 2

# Counts assignments that read a partition on from where the last one did. A mark that was left behind accuses its record.
LOOK = """
    INSERT INTO messaging.progress AS p (topic, part, position, attempts)
    SELECT topic, part, position, 1 FROM unnest($1::text[], $2::int[], $3::bigint[]) AS found (topic, part, position)
     ORDER BY topic, part
        ON CONFLICT (topic, part) DO UPDATE SET position = excluded.position, suspect = NULL,
           attempts = CASE WHEN p.position = excluded.position THEN p.attempts + 1 ELSE 1 END,
           accused = CASE WHEN p.position = excluded.position THEN coalesce(p.suspect, p.accused) END,
           kills = CASE WHEN p.position <> excluded.position THEN 0 WHEN p.suspect IS NULL THEN p.kills
                        WHEN p.suspect = p.accused THEN p.kills + 1 ELSE 1 END
 RETURNING topic, part, attempts, CASE WHEN kills >= $4 THEN accused END AS guilty"""
# Marks a record before it is read, unless it is parked unread already.
MARK = """
    UPDATE messaging.progress SET suspect = $3::bigint
     WHERE topic = $1 AND part = $2
       AND NOT EXISTS (SELECT FROM messaging.inbox WHERE source = 'kafka:' || $1 AND id = $2::int || '-' || $3::bigint)
 RETURNING true"""
CLEAR = """
    UPDATE messaging.progress SET suspect = NULL, accused = NULL, kills = 0, attempts = 0 WHERE topic = $1 AND part = $2"""
ALIVE = """
    UPDATE messaging.progress p SET suspect = NULL
      FROM unnest($1::text[], $2::int[]) AS gone (topic, part) WHERE p.topic = gone.topic AND p.part = gone.part"""


class Suspects:
    """Passes batches on; partitions without progress go record by record until offsets of theirs are committed.

    A record is guilty when two processes in a row ended while it alone was in hand; who lives on takes its mark away.
    """

    def __init__(self, pool: "asyncpg.Pool[Any]", take: Take, park: Take, ahead: Take | None = None) -> None:
        self._pool, self._take, self._park, self._ahead = pool, take, park, ahead
        self._met: set[TopicPartition] = set()
        self._careful: dict[TopicPartition, int | None] = {}

    @property
    def way(self) -> tuple[Take, Take | None]:
        """How batches are taken, and read ahead, now: with care and never unmarked, or straight."""
        return (self.take, None) if self._careful else (self._take, self._ahead)

    async def meet(self, records: Sequence[ConsumerRecord]) -> None:
        """Before the first records of a partition under an assignment: where did earlier processes get stuck?"""
        new = {TopicPartition(*place) for place in {(r.topic, r.partition) for r in records} - self._met}
        if new:
            firsts = {TopicPartition(r.topic, r.partition): r.offset for r in reversed(records)}
            await self.look({tp: firsts[tp] for tp in new})

    async def look(self, starts: Mapping[TopicPartition, int]) -> None:
        """The same, for these places."""
        with suppress(*OF_DATABASE):
            places, met = [(tp.topic, tp.partition, offset) for tp, offset in sorted(starts.items())], self._met
            found = await self._pool.fetch(LOOK, *([place[i] for place in places] for i in range(3)), _KILLS)
            if met is not self._met:
                return
            for row in found:
                if row["attempts"] >= _WITHOUT_PROGRESS:
                    self._careful[TopicPartition(row["topic"], row["part"])] = row["guilty"]
            self._met |= starts.keys()

    async def part(self) -> None:
        """The partitions go to others while we are alive: no record of them has killed us."""
        places, self._met, self._careful = self._careful.keys(), set(), {}
        with suppress(*OF_DATABASE):
            await self._alive(places)

    async def _alive(self, places: Collection[TopicPartition]) -> None:
        if places:
            await self._pool.execute(ALIVE, [tp.topic for tp in places], [tp.partition for tp in places], timeout=2)

    async def take(self, records: Sequence[ConsumerRecord]) -> None:
        """One by one, until every partition that asks for care has come on; what did not kill us is marked no longer."""
        for record in records:
            await self._alone(record)
        await self._alive(self._careful.keys() & {TopicPartition(record.topic, record.partition) for record in records})

    async def committed(self, places: Collection[TopicPartition]) -> None:
        """These have come on for good: whoever reads them next begins behind what was through."""
        for place in self._careful.keys() & places:
            await self._pool.execute(CLEAR, place.topic, place.partition)
            self._careful.pop(place, None)

    async def _alone(self, record: ConsumerRecord) -> None:
        place = TopicPartition(record.topic, record.partition)
        if place in self._careful and not await self._pool.fetchval(MARK, record.topic, record.partition, record.offset):
            return
        if self._careful.get(place) != record.offset:
            await self._take([record])
            return
        log.error("record_killed_its_readers", topic=record.topic, partition=record.partition, offset=record.offset)
        await self._park([record])
