"""Which topics are recorded, and the one command that is decided; nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import structlog

from contracts.topics import INBOUND, OWNED
from messaging import patience
from messaging.message import Record
from messaging.metrics import Meters
from messaging.routes import Kept, Routes, on
from oversight import handlers, store
from oversight.domain.entry import once
from oversight.entries import by_place, entries_of
from oversight.reconciling import claims_in

TOPICS = (*INBOUND, *OWNED)
ROUTES = Routes(Kept("readings", handlers.Readings, on(handlers.ReadRecord, handlers.on_read_record)))

log = structlog.get_logger()


class Recorder:
    """Writes every record down once; the same (source, id) with other content is an alarm, and the first one stays."""

    def __init__(self, pool: "asyncpg.Pool[Any]", key: bytes, meters: Meters) -> None:
        self._pool, self._key, self._meters = pool, key, meters

    async def take(self, records: Sequence[Record]) -> None:
        """One statement for the batch; a record that the database refuses is kept by its place."""
        await patience.bisecting(records, self._write, self._refused)

    async def _write(self, records: Sequence[Record]) -> None:
        entries, others = once(entries_of(records, self._key))
        new, conflicts = await store.write(self._pool, entries)
        for other in others + conflicts:
            self._alarm(other.topic, other.part, other.position)
        if claims := claims_in(entries):
            await store.claim(self._pool, claims)
        self._meters.handled.labels("recorded").inc(new)
        self._meters.handled.labels("duplicate").inc(len(records) - new)

    async def _refused(self, record: Record, error: Exception) -> None:
        log.error("record_kept_by_place", reason=type(error).__name__, topic=record.topic, offset=record.offset)
        new, _ = await store.write(self._pool, [by_place(record, datetime.now(UTC), self._key)])
        self._meters.handled.labels("recorded" if new else "duplicate").inc()

    def _alarm(self, topic: str, partition: int, offset: int) -> None:
        self._meters.conflicts.inc()
        log.error("same_id_other_content", topic=topic, partition=partition, offset=offset)
