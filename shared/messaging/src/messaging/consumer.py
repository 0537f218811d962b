"""The consumer loop: each batch is decided and written whole, and only then do its offsets count as done.

Invariants: it never raises, or the batch would be passed over; offsets follow the write; a batch is held through trouble and
bisected when its content fails.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from messaging import patience
from messaging.culprits import Culprits
from messaging.message import Received
from messaging.metrics import Meters
from messaging.processor import Processor
from messaging.received import read
from messaging.routes import Routes

log = structlog.get_logger()
_PORTION = 50
Take = Callable[[Sequence[ConsumerRecord]], Coroutine[Any, Any, Any]]


class Consumer:
    """Takes one batch at a time; `handled` are the offsets that may be committed, `newest` the stamps there and their types.

    `given_up` belongs to one assignment of partitions: once it is set, nothing that was taken under it is begun.
    """

    def __init__(self, handle: Take, meters: Meters, noted: Callable[[Sequence[Any]], None] = lambda _: None) -> None:
        self.handle, self._meters, self._noted = handle, meters, noted
        self.ahead: Take | None = None
        self._reading, self.in_hand, self.given_up = asyncio.Lock(), asyncio.Lock(), asyncio.Event()
        self.handled: dict[TopicPartition, int] = {}
        self.newest: dict[TopicPartition, tuple[int, int]] = {}

    async def take(self, records: Sequence[ConsumerRecord], given_up: asyncio.Event | None = None) -> None:
        """Read (`ahead`) while the batch before is written; then written too, or given up since partitions went or we leave."""
        given_up, handle = given_up or self.given_up, self.handle
        async with self._reading:
            if self.ahead:
                await self.ahead(records)
        async with self.in_hand:
            started = monotonic()
            if await patience.holding(lambda: handle(records), given_up, self._trouble):
                self._noted(records)
                for place, last in {(r.topic, r.partition): r for r in records}.items():
                    tp = TopicPartition(*place)
                    self.handled[tp], self.newest[tp] = last.offset + 1, (last.timestamp, last.timestamp_type)
            self._meters.batch.observe(monotonic() - started)

    def _trouble(self, error: BaseException) -> None:
        self._meters.troubles.labels(type(error).__name__).inc()
        log.warning("batch_held", kind=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))


class Deciding:
    """Reads a batch of records and has the processor decide what concerns this service."""

    def __init__(self, routes: Routes, processor: Processor, meters: Meters) -> None:
        self._routes, self._processor, self._meters = routes, processor, meters
        self._culprits = Culprits(self._settle)
        self.park = self._culprits.park_unread
        self._read: tuple[Sequence[ConsumerRecord], list[Received]] = ((), [])

    async def ahead(self, records: Sequence[ConsumerRecord]) -> list[Received]:
        """Reads a batch that will be taken, a portion at a time: who waits for the loop, as the relay does, goes first."""
        received: list[Received] = []
        for start in range(0, len(records), _PORTION):
            received += [message for record in records[start : start + _PORTION] if (message := read(record, self._routes))]
            await asyncio.sleep(0)
        self._read = records, received
        return received

    async def take(self, records: Sequence[ConsumerRecord]) -> None:
        """Settles a batch whole; content that fails is bisected until it is parked."""
        received = self._read[1] if self._read[0] is records else await self.ahead(records)
        self._meters.passed_over.inc(len(records) - len(received))
        if received:
            await patience.bisecting(received, self._settle, self._culprits.park)

    async def _settle(self, batch: Sequence[Received]) -> None:
        answers = await self._processor.handle(batch)
        for outcome, count in Counter("duplicate" if a.duplicate else a.outcome for a in answers).items():
            self._meters.handled.labels(outcome).inc(count)
        self._meters.conflicts.inc(sum(a.reason == "same-id-other-content" for a in answers))
