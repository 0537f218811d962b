"""Topics that too many faults of our own have stopped: no replica reads them on until a person says so; others go on. The same
for partitions whose records the client cannot unpack, which are tried again after a while.

Invariants: nothing of a stopped topic is handled or passed over; nothing here raises into the loop.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError

from messaging.metrics import Meters
from messaging.trouble import OF_DATABASE

log = structlog.get_logger()
STOPPED = "SELECT topic, faults FROM messaging.stop WHERE since IS NOT NULL"


class Stops:
    """What of this service is stopped, as the database had it when it was last looked at."""

    def __init__(self, pool: "asyncpg.Pool[Any]", meters: Meters) -> None:
        self._pool, self._meters = pool, meters
        self.topics: dict[str, int] = {}
        self.unreadable: dict[TopicPartition, str] = {}
        self._held: set[TopicPartition] = set()
        self._in_doubt = True

    def forget(self) -> None:
        """The partitions are given away, and whoever gets them finds out for himself."""
        self.unreadable.clear()
        self._held.clear()

    def hold(self, reading: Any, place: TopicPartition) -> None:
        """Nothing is read on there until a look finds that it may be; one that merely rests is none of our concern."""
        reading.pause(place)
        self._held.add(place)

    def doubt(self) -> None:
        """Something was parked by a fault of ours: the next batch waits for another look."""
        self._in_doubt = True

    def free(self, places: Collection[TopicPartition]) -> set[TopicPartition]:
        """Those on which nothing is held. One of a stopped topic may be among them: its next record has it held."""
        return set(places) - self._held

    def sentence(self) -> str:
        """What is not read on, and what a person has to do."""
        told = [
            f"partition {place.partition} of {place.topic} cannot be unpacked ({kind}): its producer, or the broker's disk"
            for place, kind in sorted(self.unreadable.items())
        ]
        if self.topics:
            stopped = [f"{topic} is stopped after {faults} faults of our own" for topic, faults in sorted(self.topics.items())]
            told.append(f"{'; '.join(stopped)}: rapport parked list, then rapport parked resume")
        return "; ".join(told)

    async def look(self, reading: Any) -> None:
        """Called several times a second: lets go on what was resumed."""
        found = {row["topic"]: row["faults"] for row in await self._pool.fetch(STOPPED)}
        self._in_doubt = False
        for topic in found.keys() ^ self.topics.keys():
            log.error("topic_stopped" if topic in found else "topic_resumed", topic=topic, count=found.get(topic, 0))
            self._meters.stopped.labels(topic).set(int(topic in found))
        self.topics = found
        free = {place for place in self._held if place.topic not in self.topics and place not in self.unreadable}
        self._held -= free
        if reading and free & reading.assignment():
            reading.resume(*(free & reading.assignment()))

    async def passing(
        self, records: Sequence[ConsumerRecord], reading: Any, given_up: asyncio.Event
    ) -> Sequence[ConsumerRecord]:
        """What may be handled; the rest is left where it lies, and its partitions are not read on.

        Under another assignment than that under which they came, their places are no longer ours to leave them at.
        """
        if self._in_doubt:
            with suppress(*OF_DATABASE):
                await self.look(reading)
        if not self.topics or given_up.is_set():
            return records
        firsts: dict[TopicPartition, int] = {}
        for record in records:
            if record.topic in self.topics:
                firsts.setdefault(TopicPartition(record.topic, record.partition), record.offset)
        for tp, offset in firsts.items():
            # A partition that was taken from us is its new owner's to hold.
            with suppress(IllegalStateError):
                reading.seek(tp, offset)
                self.hold(reading, tp)
        return [record for record in records if record.topic not in self.topics]
