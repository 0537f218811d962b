"""Topics that too many faults of our own have stopped: no replica reads them on until a person says so; others go on.

Invariants: nothing of a stopped topic is handled or passed over; nothing here raises into the loop.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError

from messaging.metrics import Meters

log = structlog.get_logger()
STOPPED = "SELECT topic, faults FROM messaging.stop WHERE since IS NOT NULL"


class Stops:
    """What of this service is stopped, as the database had it when it was last looked at."""

    def __init__(self, pool: "asyncpg.Pool[Any]", meters: Meters) -> None:
        self._pool, self._meters = pool, meters
        self.topics: dict[str, int] = {}
        self._in_doubt = True

    def doubt(self) -> None:
        """Something was parked by a fault of ours: the next batch waits for another look."""
        self._in_doubt = True

    def sentence(self) -> str:
        """What is stopped, and what a person has to do."""
        told = [f"{topic} is stopped after {faults} faults of our own" for topic, faults in sorted(self.topics.items())]
        return f"{'; '.join(told)}: rapport parked list, then rapport parked resume"

    async def look(self, reading: Any) -> None:
        """Called several times a second: lets go on what was resumed."""
        found = {row["topic"]: row["faults"] for row in await self._pool.fetch(STOPPED)}
        self._in_doubt = False
        for topic in found.keys() ^ self.topics.keys():
            log.error("topic_stopped" if topic in found else "topic_resumed", topic=topic, count=found.get(topic, 0))
            self._meters.stopped.labels(topic).set(int(topic in found))
        self.topics = found
        held = [tp for tp in reading.paused() if tp.topic not in found] if reading else []
        if held:
            reading.resume(*held)

    async def passing(self, records: Sequence[ConsumerRecord], reading: Any) -> Sequence[ConsumerRecord]:
        """What may be handled; the rest is left where it lies, and its partitions are not read on."""
        if self._in_doubt:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self.look(reading)
        if not self.topics:
            return records
        firsts: dict[TopicPartition, int] = {}
        for record in records:
            if record.topic in self.topics:
                firsts.setdefault(TopicPartition(record.topic, record.partition), record.offset)
        for tp, offset in firsts.items():
            # A partition that was taken from us is its new owner's to hold.
            with suppress(IllegalStateError):
                reading.seek(tp, offset)
                reading.pause(tp)
        return [record for record in records if record.topic not in self.topics]
