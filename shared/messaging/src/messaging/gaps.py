"""Finds events that are missing: each number heard is written down before its offset is committed, and a gap is announced.

Only the owners' topics are checked: there `ce_sequence` has no gaps per source and subject. What is parked is announced without
a number, and a compacted topic has gaps by nature.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord, TopicPartition

from contracts.topics import OWNED
from messaging import machinery
from messaging.message import Received
from messaging.metrics import Meters
from messaging.processor import Processor
from messaging.routes import Routes

log = structlog.get_logger()
Headers = Sequence[tuple[str, bytes | None]]
Heap = dict[tuple[str, int, bytes], list[int]]
_LARGEST, _LONGEST = 2**62, 500

# Numbers without a hole, at most one such run per subject; hearing something again changes nothing.
HEAR = """
    INSERT INTO messaging.heard AS h (source, subject, last, missing, noticed_at)
    SELECT source, subject, last, int8multirange(int8range(1, first)), CASE WHEN first > 1 THEN messaging.now() END
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS run (source, subject, first, last)
     ORDER BY source, subject
        ON CONFLICT (source, subject) DO UPDATE SET last = greatest(h.last, excluded.last),
           missing = CASE WHEN isempty(h.missing) AND coalesce(upper(excluded.missing), 1) <= h.last + 1 THEN h.missing
                          ELSE h.missing
                             + int8multirange(int8range(h.last + 1, greatest(h.last + 1, coalesce(upper(excluded.missing), 1))))
                             - int8multirange(int8range(coalesce(upper(excluded.missing), 1), excluded.last, '[]')) END,
           noticed_at = CASE WHEN coalesce(upper(excluded.missing), 1) > h.last + 1 THEN coalesce(h.noticed_at, messaging.now())
                             ELSE h.noticed_at END
     WHERE excluded.last > h.last OR NOT isempty(h.missing)"""
# What was said about a subject before this partition was heard is nobody's gap.
BEFORE = """
    INSERT INTO messaging.heard (source, subject, last)
    SELECT source, subject, first - 1 FROM unnest($1::text[], $2::text[], $3::bigint[]) AS run (source, subject, first)
     ORDER BY source, subject ON CONFLICT DO NOTHING"""
HEARING = """
    INSERT INTO messaging.hearing (topic, part, whole) SELECT * FROM unnest($1::text[], $2::int[], $3::boolean[])
     ORDER BY 1, 2 ON CONFLICT DO NOTHING"""
WHOLE = """
    SELECT topic, part, whole FROM messaging.hearing
      JOIN unnest($1::text[], $2::int[]) AS asked (topic, part) USING (topic, part)"""

# Subjects about which something is missing, or left to announce.
NOTICED = """
    SELECT count(*) AS noticed, count(*) FILTER (WHERE NOT isempty(missing)) AS open
      FROM messaging.heard WHERE noticed_at IS NOT NULL"""
UNANNOUNCED = """
    SELECT source, subject, lower(r) AS first, upper(r) - 1 AS last, closed
      FROM messaging.heard CROSS JOIN LATERAL (
           SELECT unnest(missing - announced), false UNION ALL SELECT unnest(announced - missing), true) AS c (r, closed)
     WHERE noticed_at IS NOT NULL ORDER BY noticed_at, source, subject, 3 LIMIT $1"""
ANNOUNCED = """
    UPDATE messaging.heard
       SET announced = CASE WHEN $5::boolean THEN announced - int8multirange(int8range($3, $4, '[]'))
                            ELSE announced + int8multirange(int8range($3, $4, '[]')) END
     WHERE source = $1 AND subject = $2"""
FORGOTTEN = """
    UPDATE messaging.heard SET noticed_at = NULL
     WHERE noticed_at IS NOT NULL AND isempty(missing) AND isempty(announced)"""
OPEN = """
    SELECT source, subject, lower(r) AS first, upper(r) - 1 AS last, noticed_at
      FROM messaging.heard CROSS JOIN LATERAL unnest(missing) AS r
     WHERE noticed_at IS NOT NULL ORDER BY noticed_at, source, subject, 3 LIMIT $1"""


class Heard:
    """Collects the numbers of handled records and writes them down.

    Invariants: whoever commits offsets has called `flush` for their records before; what a failed flush could not write is
    kept for the next one.
    """

    def __init__(self, pool: "asyncpg.Pool[Any]", owned: Mapping[str, str] = OWNED) -> None:
        self._pool, self._owned = pool, owned
        self._sources = {topic: source.encode() for topic, source in owned.items()}
        self._runs: Heap = {}
        self._places = (0, 0, 0)
        self._from: dict[TopicPartition, int] = {}
        self._whole: dict[TopicPartition, bool] = {}
        self._writing = asyncio.Lock()

    def noted(self, records: Sequence[ConsumerRecord]) -> None:
        """These were handled; a microsecond or two per record, no wait."""
        runs, sources = self._runs, self._sources
        for record in records:
            topic = record.topic
            if topic not in sources:
                continue
            source, subject, raw = self._read(record.headers)
            if source != sources[topic] or subject is None or (number := _number(raw)) is None:
                continue
            key = (topic, record.partition, subject)
            found = runs.get(key)
            if found is None:
                runs[key] = [number, number]
                if (topic, record.partition) not in self._from:
                    self._from[TopicPartition(topic, record.partition)] = record.offset
            elif found[-1] + 1 == number:
                found[-1] = number
            else:
                found += (number, number)

    def _read(self, headers: Headers) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Source, subject and number: headers come in the same order again and again, so it is tried where they were last."""
        a, b, c = self._places
        if len(headers) > max(a, b, c):
            source, subject, number = headers[a], headers[b], headers[c]
            if source[0] == "ce_source" and subject[0] == "ce_subject" and number[0] == "ce_sequence":
                return source[1], subject[1], number[1]
        at = {name: place for place, (name, _) in enumerate(headers)}
        if not {"ce_source", "ce_subject", "ce_sequence"} <= at.keys():
            return None, None, None
        a, b, c = self._places = at["ce_source"], at["ce_subject"], at["ce_sequence"]
        return headers[a][1], headers[b][1], headers[c][1]

    async def flush(self, reading: Any) -> None:
        """Writes down what was noted; `reading` knows where partitions begin. Raises what the database or the broker raises."""
        async with self._writing:
            runs, self._runs = self._runs, {}
            try:
                await self._look_where_it_begins(reading)
                await self._write(_rounds(runs))
            except BaseException:
                self._runs = {key: runs.get(key, []) + self._runs.get(key, []) for key in runs.keys() | self._runs.keys()}
                raise

    async def _look_where_it_begins(self, reading: Any) -> None:
        new = sorted(self._from.keys() - self._whole.keys())
        if not new:
            return
        begins = await reading.beginning_offsets(new)
        topics, parts = [tp.topic for tp in new], [tp.partition for tp in new]
        whole = [begins[tp] == 0 or self._from[tp] > begins[tp] for tp in new]
        await self._pool.execute(HEARING, topics, parts, whole)
        for row in await self._pool.fetch(WHOLE, topics, parts):
            self._whole[TopicPartition(row["topic"], row["part"])] = row["whole"]

    async def _write(self, rounds: Sequence[Sequence[tuple[str, int, str, int, int]]]) -> None:
        for rows in rounds:
            late = [row for row in rows if not self._whole[TopicPartition(row[0], row[1])]]
            if late:
                await self._pool.execute(BEFORE, *self._columns(late)[:3])
            await self._pool.execute(HEAR, *self._columns(rows))

    def _columns(self, rows: Sequence[tuple[str, int, str, int, int]]) -> tuple[list[Any], ...]:
        return [self._owned[row[0]] for row in rows], *([row[i] for row in rows] for i in (2, 3, 4))


def _number(raw: bytes | None) -> int | None:
    try:
        number = int(raw or 0)
    except ValueError:
        return None
    return number if 0 < number < _LARGEST else None


def _rounds(heap: Heap) -> list[list[tuple[str, int, str, int, int]]]:
    """The first run of every subject, then the second of those that have one, and so on: nearly always there is only one."""
    rounds: list[list[tuple[str, int, str, int, int]]] = []
    for (topic, part, raw), found in heap.items():
        if len(raw) > _LONGEST or b"\0" in raw or not _is_text(raw):
            continue
        for nr, (first, last) in enumerate(_joined(found)):
            if nr == len(rounds):
                rounds.append([])
            rounds[nr].append((topic, part, raw.decode(), first, last))
    return rounds


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _joined(found: Sequence[int]) -> list[tuple[int, int]]:
    if len(found) == 2:
        return [(found[0], found[1])]
    joined: list[tuple[int, int]] = []
    for first, last in sorted(zip(found[::2], found[1::2], strict=True)):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


class Announcer:
    """Says which gaps opened and which closed, each once, as GapFound on the service's own topic."""

    def __init__(self, pool: "asyncpg.Pool[Any]", processor: Processor, routes: Routes, source: str, meters: Meters) -> None:
        self._pool, self._processor, self._routes, self._source, self._meters = pool, processor, routes, source, meters

    async def turn(self, limit: int = 200) -> int:
        """Announces what is new and returns how much it was."""
        noticed, still_open = await self._pool.fetchrow(NOTICED) or (0, 0)
        self._meters.gaps.set(still_open)
        if not noticed:
            return 0
        rows = await self._pool.fetch(UNANNOUNCED, limit)
        for row in rows:
            await self._announce(*row)
        await self._pool.execute(FORGOTTEN)
        return len(rows)

    # A subject that no envelope takes cannot be spoken about; its gap stands in the log and among the open ones.
    async def _announce(self, source: str, subject: str, first: int, last: int, closed: bool) -> None:
        with suppress(ValueError):
            await self._processor.handle([self._message(source, subject, first, last, closed)])
        await self._pool.execute(ANNOUNCED, source, subject, first, last, closed)
        self._meters.gaps_found.labels("closed" if closed else "opened").inc()
        tell = log.warning if closed else log.error
        tell("gap_closed" if closed else "gap_found", kind=source, count=last - first + 1)

    def _message(self, source: str, subject: str, first: int, last: int, closed: bool) -> Received:
        found = machinery.class_of(self._source, "gap-found")
        event = found(event_source=source, first=first, last=last, closed=closed)
        key = f"{'closed' if closed else 'gap'} {source} {subject} {first}-{last}"
        return machinery.saying(self._routes, self._source, subject, key, [event])


async def open_gaps(pool: "asyncpg.Pool[Any]", limit: int) -> list[dict[str, Any]]:
    """What is missing here, the oldest gap first."""
    return [dict(row) for row in await pool.fetch(OPEN, limit)]
