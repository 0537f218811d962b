"""What a service does unasked: fires due timers and looks again at what was set aside, through the same processor."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from contracts.envelope import Envelope
from contracts.record import read_record
from messaging import patience
from messaging.decision import DueTimer
from messaging.message import Received
from messaging.processor import Processor
from messaging.received import bind
from messaging.routes import Due, Kept, Routes

log = structlog.get_logger()

# Due timers, soonest first. One that waits for answers also needs every partition to be read past it, or its patience gone.
DUE = """
    WITH backlog AS (SELECT min(read_up_to) AS read_up_to FROM messaging.progress)
    SELECT kind, subject, name, id, due, cause, due > coalesce(read_up_to, '-infinity') AS backlog_unread
      FROM messaging.timer, backlog
     WHERE due <= messaging.now() AND coalesce(not_before, due) <= messaging.now()
       AND (fires_anyway <= messaging.now() OR due <= coalesce(read_up_to, '-infinity'))
     ORDER BY due LIMIT $1"""
# A timer that our code cannot process backs off, so that the others go on.
BACK_OFF = """
    UPDATE messaging.timer SET attempts = attempts + 1, not_before = messaging.now() + $2 * least(power(2, attempts), 64)
     WHERE id = $1"""
# Whole lanes whose first row is to be looked at again, each in its order.
LANES = """
    SELECT p.n, p.kind, p.subject, p.source, p.id, p.topic, p.part, p.position, p.headers, p.value,
           lead(p.n) OVER lane IS NULL AS lane_end
      FROM messaging.parked p
      JOIN (SELECT DISTINCT kind, subject, source FROM messaging.parked
             WHERE outcome = 'waiting' AND retry_at <= messaging.now() LIMIT $1) due USING (kind, subject, source)
     WHERE NOT EXISTS (SELECT FROM messaging.parked head WHERE head.outcome = 'parked' AND head.kind = p.kind
                          AND head.subject = p.subject AND head.source = p.source AND head.n < p.n)
       AND p.outcome = 'waiting'
    WINDOW lane AS (PARTITION BY p.kind, p.subject, p.source ORDER BY p.n)
     ORDER BY p.n"""

_FIRST_BACK_OFF = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it was set aside."""

    topic: str
    partition: int
    offset: int
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None


class Workers:
    """Due timers and waiting lanes of one process; replicas may run them too, since every message claims its inbox row."""

    def __init__(self, pool: "asyncpg.Pool[Any]", routes: Routes, processor: Processor, source: str) -> None:
        self._pool, self._routes, self._processor, self._source = pool, routes, processor, f"{source}/timer"

    async def fire_due(self, limit: int = 500) -> int:
        """Fires what is due and returns how many; a timer that fails alone is tried again later."""
        due = [self._timer(row) for row in await self._pool.fetch(DUE, limit)]
        if due:
            await patience.bisecting(due, self._handle, self._back_off)
        return len(due)

    async def look_again(self, lanes: int = 100) -> int:
        """Processes the waiting lanes that are due, in order, and returns how many rows were looked at."""
        waiting = [self._waiting(row) for row in await self._pool.fetch(LANES, lanes)]
        for lane in _lanes(waiting):
            await self._try_lane(lane)
        return len(waiting)

    async def _try_lane(self, lane: Sequence[Received]) -> None:
        for message in lane:
            (answer,) = await self._processor.handle([message])
            if answer.outcome in ("waiting", "parked"):
                return

    async def _handle(self, batch: Sequence[Received]) -> None:
        await self._processor.handle(batch)

    async def _back_off(self, message: Received, error: Exception) -> None:
        log.error("timer_failed", kind=message.envelope.type, reason=type(error).__name__)
        await self._pool.execute(BACK_OFF, message.envelope.id, _FIRST_BACK_OFF)

    def _timer(self, row: Any) -> Received:
        return due_timer(*self._routes.timers[row["name"]], {**row, "cause": json.loads(row["cause"])}, self._source)

    def _waiting(self, row: Any) -> Received:
        headers = [(name, None if raw is None else raw.encode("latin-1")) for name, raw in json.loads(row["headers"])]
        record = StoredRecord(row["topic"], row["part"], row["position"], headers, row["value"])
        envelope, value = read_record(record.headers, record.value)
        message = bind(envelope, value, self._routes, record)
        return replace(message, lane_row=row["n"], lane_end=row["lane_end"])


def _lanes(waiting: Sequence[Received]) -> list[list[Received]]:
    lanes: dict[Any, list[Received]] = {}
    for message in waiting:
        lanes.setdefault((message.subject, message.claim[0]), []).append(message)
    return list(lanes.values())


def due_timer(kept: Kept, route: Due, row: Any, source: str) -> Received:
    """A due timer as a message; its cause is the event that set it."""
    envelope = Envelope(
        id=row["id"], source=source, type=f"timer:{route.name}", subject=row["subject"], time=row["due"], **row["cause"]
    )
    timer = DueTimer(route.name, row["due"], row["backlog_unread"])
    return Received(envelope, (source, row["id"]), b"", kept, route, row["subject"], timer)
