"""What a service does unasked: fires due timers and looks again at what was set aside, through the same processor."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import structlog

from contracts.event import Event
from messaging import patience
from messaging.message import Received, Trouble
from messaging.parking import SET_ASIDE, Parks, Unanswerable, unprocessable
from messaging.processor import Processor
from messaging.received import read
from messaging.routes import Due, On, Routes
from messaging.stored import stored
from messaging.timers import BACK_OFF, DUE, due_timer
from messaging.unreadable import by_place

log = structlog.get_logger()

# Lanes in which something is to be looked at again, soonest first, each in its order as far as its first parked row. Who waits
# too long is given up only when everything was read that may have released it until then; until that is so it has no patience
# that could end, and near its limit it comes again soon.
LANES = """
    WITH backlog AS (SELECT min(read_up_to) AS read_up_to FROM messaging.progress WHERE topic = ANY ($2)
    ), due AS MATERIALIZED (
        SELECT DISTINCT kind, subject, source FROM (
               SELECT kind, subject, source FROM messaging.parked p
                WHERE outcome = 'waiting' AND retry_at <= (SELECT messaging.now()) AND NOT EXISTS (
                      SELECT FROM messaging.parked head WHERE head.outcome = 'parked' AND head.kind = p.kind
                         AND head.subject = p.subject AND head.source = p.source AND head.n < p.n)
                ORDER BY retry_at LIMIT $1) AS soonest)
    SELECT waiting.*, CASE WHEN gives_up_at <= coalesce(read_up_to, 'infinity') THEN gives_up_at
                           WHEN gives_up_at > messaging.now() + interval '1 minute' THEN '9999-01-01' END AS patience
      FROM backlog, due CROSS JOIN LATERAL (
           SELECT * FROM messaging.parked p
            WHERE outcome = 'waiting' AND kind = due.kind AND subject = due.subject AND source = due.source AND NOT EXISTS (
                  SELECT FROM messaging.parked head WHERE head.outcome = 'parked' AND head.kind = due.kind
                     AND head.subject = due.subject AND head.source = due.source AND head.n < p.n)
            ORDER BY n LIMIT $3) AS waiting
     ORDER BY n"""
# A record that killed its readers is parked again before it is read again.
MARK = "UPDATE messaging.parked SET outcome = 'parked' WHERE n = ANY ($1)"
# A row that could not even be parked is looked at later, so that other lanes go on.
POSTPONE = "UPDATE messaging.parked SET attempts = attempts + 1, retry_at = messaging.now() + $2::interval WHERE n = $1"

_FIRST_BACK_OFF, _POSTPONED = timedelta(seconds=1), timedelta(minutes=1)
KILLER = "killed-its-readers"


class Workers:
    """Due timers and waiting lanes of one process; replicas may run them too, since every message claims its inbox row."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", routes: Routes, processor: Processor, source: str, timer_attempts: int = 10
    ) -> None:
        self._pool, self._routes, self._processor, self._source = pool, routes, processor, f"{source}/timer"
        self._timer_attempts = timer_attempts

    async def fire_due(self, limit: int = 500) -> int:
        """Fires what is due and returns how many; a timer that fails alone is tried again later."""
        rows = await self._pool.fetch(DUE, limit, self._routes.topics, list(self._routes.timers))
        due = [self._timer(row) for row in rows]
        if due:
            await patience.bisecting(due, self._fire, self._back_off)
        return len(due)

    async def look_again(self, lanes: int = 100, of_each: int = 100) -> int:
        """Processes the waiting lanes that are due, each in its order, and returns how many rows were looked at."""
        rows = await self._pool.fetch(LANES, lanes, self._routes.topics, of_each)
        if killers := [row["n"] for row in rows if row["fault"] and row["reason"] == KILLER]:
            await self._pool.execute(MARK, killers)
        waiting: dict[tuple[str, str, str], list[Received]] = defaultdict(list)
        for row in rows:
            waiting[row["kind"], row["subject"], row["source"]].append(self._waiting(row))
        await self._try_lanes(list(waiting.values()))
        return len(rows)

    async def _try_lanes(self, lanes: Sequence[Sequence[Received]]) -> None:
        """The first of each lane in one batch, then the second of those that went on, and so forth."""
        while lanes:
            done: set[int | None] = set()
            await patience.bisecting([lane[0] for lane in lanes], partial(self._look, done), self._park)
            lanes = [lane[1:] for lane in lanes if lane[0].lane_row in done and len(lane) > 1]

    async def _look(self, done: set[int | None], batch: Sequence[Received]) -> None:
        answers = await self._processor.handle(batch)
        done |= {message.lane_row for message, answer in zip(batch, answers, strict=True) if answer.outcome not in SET_ASIDE}

    async def _park(self, message: Received, error: Exception) -> None:
        await patience.bisecting([unprocessable(message, error)], self._processor.handle, self._postpone)

    async def _postpone(self, message: Received, error: Exception) -> None:
        log.error("row_failed", kind=message.envelope.type, reason=type(error).__name__)
        await self._pool.execute(POSTPONE, message.lane_row, _POSTPONED)

    async def _fire(self, batch: Sequence[Received]) -> None:
        for message, answer in zip(batch, await self._processor.handle(batch), strict=True):
            if answer.outcome == "early":
                await self._back_off(message, Unanswerable(answer.outcome))

    async def _back_off(self, message: Received, error: Exception) -> None:
        reason = error.reason if isinstance(error, Unanswerable) else type(error).__name__
        assert message.kept is not None
        assert isinstance(message.route, Due)
        place = message.kept.kind, message.subject, message.route.name
        values = message.envelope.id, _FIRST_BACK_OFF, f"timer-{reason}", self._timer_attempts, *place
        halted = await self._pool.fetchval(BACK_OFF, *values)
        log.error("timer_halted" if halted else "timer_failed", kind=message.envelope.type, reason=reason)

    def _timer(self, row: Any) -> Received:
        return due_timer(*self._routes.timers[row["name"]], {**row, "cause": json.loads(row["cause"])}, self._source)

    def _waiting(self, row: Any) -> Received:
        record, claim = stored(row), (row["source"], row["id"])
        message = read(record, self._routes) or by_place(record, Trouble("unknown-type", "ce_type"))
        message = replace(message, claim=claim, lane_row=row["n"], gives_up_at=row["patience"], subject=row["subject"])
        return self._guarded(message, row["kind"]) if message.trouble else message

    def _guarded(self, message: Received, kind: str) -> Received:
        """One that nobody can read any more stays in its lane, under the lock of its lane."""
        kept = self._routes.kept.get(kind)
        if kept is None or message.trouble is None:
            return message
        return replace(message, trouble=None, kept=kept, route=On(Event, Parks(message.trouble)))
