"""The SQL of the views of custody: they are read from the ledger alone, and nothing is kept for them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

Row = tuple[str, bytes]
Chosen = tuple[str, str]

NOW = "SELECT messaging.now()"

# What our services said about one episode, in the order recorded; with $2 only what had been recorded by then.
EPISODE = """
    SELECT attributes, data FROM entry
     WHERE subject = $1 AND attributes IS NOT NULL AND ($2::timestamptz IS NULL OR recorded_at <= $2)
     ORDER BY index"""
IS_KNOWN = "SELECT EXISTS (SELECT FROM entry WHERE subject = $1 AND attributes IS NOT NULL)"

# Handoffs that stand, the soonest deadline first. Of each arbiter and episode only the newest offer can, until its arbiter
# decides on it or takes it back: so one pass over types finds them, and few bodies are read.
STANDING = """
    WITH newest AS (
        SELECT subject, source, max(index) FILTER (WHERE type LIKE '%-offered.%') AS offer
          FROM entry WHERE type LIKE '%.handoff-%' AND attributes IS NOT NULL
         GROUP BY subject, source
        HAVING max(index) FILTER (WHERE type LIKE '%-offered.%') > coalesce(max(index) FILTER (
                   WHERE type LIKE '%-accepted.%' OR type LIKE '%-declined.%' OR type LIKE '%-overdue.%'), -1)),
    offered AS (
        SELECT o.index, o.subject, o.source, convert_from(o.data, 'UTF8')::jsonb AS body
          FROM newest JOIN entry o ON o.index = newest.offer WHERE o.attributes IS NOT NULL),
    standing AS (
        SELECT subject, body ->> 'handoff_id' AS handoff_id, (body ->> 'deadline')::timestamptz AS deadline
          FROM offered o
         WHERE NOT EXISTS (
               SELECT FROM entry s
                WHERE s.type LIKE '%.handoff-%' AND s.type LIKE '%-superseded.%' AND s.attributes IS NOT NULL
                  AND s.subject = o.subject AND s.source = o.source AND s.index > o.index
                  AND convert_from(s.data, 'UTF8')::jsonb ->> 'handoff_id' = o.body ->> 'handoff_id'
                  AND convert_from(s.data, 'UTF8')::jsonb ->> 'current' IS NULL))
    SELECT subject, handoff_id FROM standing
     WHERE $1::boolean IS NULL OR $1 = (deadline < messaging.now())
     ORDER BY deadline, handoff_id LIMIT $2"""

# Handoffs about which one word was said, such as overdue; the newest first.
SAID = """
    SELECT subject, convert_from(data, 'UTF8')::jsonb ->> 'handoff_id' AS handoff_id
      FROM entry
     WHERE type LIKE '%.handoff-%' AND attributes IS NOT NULL AND split_part(split_part(type, '.', 4), '-', 2) = $1
     ORDER BY index DESC LIMIT $2"""

# Everything that decides what became of the handoffs of these episodes, and of which chain they are part.
OF_EPISODES = """
    SELECT attributes, data FROM entry
     WHERE subject = ANY ($1::text[]) AND attributes IS NOT NULL
       AND (type LIKE '%.handoff-%' OR type LIKE '%.episode-opened.%')
     ORDER BY index"""

# How long the newest answered handoffs took, by kind: from the offer to the confirmed answer, both by the arbiter's clock.
TOOK = """
    WITH answered AS (
        SELECT subject, source, attributes::json ->> 'time' AS at,
               convert_from(data, 'UTF8')::jsonb ->> 'handoff_id' AS handoff_id
          FROM entry
         WHERE type LIKE '%.handoff-%' AND attributes IS NOT NULL AND (type LIKE '%-accepted.%' OR type LIKE '%-declined.%')
         ORDER BY index DESC LIMIT $1)
    SELECT o.kind, a.at::timestamptz - o.at::timestamptz AS took
      FROM answered a
     CROSS JOIN LATERAL (
           SELECT r.attributes::json ->> 'time' AS at, convert_from(r.data, 'UTF8')::jsonb ->> 'kind' AS kind
             FROM entry r
            WHERE r.type LIKE '%.handoff-%' AND r.attributes IS NOT NULL AND r.type LIKE '%-offered.%'
              AND r.subject = a.subject AND r.source = a.source
              AND convert_from(r.data, 'UTF8')::jsonb ->> 'handoff_id' = a.handoff_id
            LIMIT 1) o"""

# The next so many subjects after $1, one step of the index each, and everything our services said about them.
PAGE = """
    WITH RECURSIVE page AS (
        (SELECT subject, 1 AS place FROM entry WHERE subject > $1 ORDER BY subject LIMIT 1)
        UNION ALL
        SELECT following.subject, page.place + 1
          FROM page
         CROSS JOIN LATERAL (SELECT subject FROM entry WHERE subject > page.subject ORDER BY subject LIMIT 1) following
         WHERE page.place < $2)
    SELECT page.subject, r.attributes, r.data
      FROM page
      LEFT JOIN entry r ON r.subject = page.subject AND r.attributes IS NOT NULL AND page.subject ~ '^[0-9a-f-]{36}$'
     ORDER BY page.subject, r.index"""


async def now(pool: "asyncpg.Pool[Any]") -> datetime:
    """The instant against which deadlines are held."""
    instant: datetime = await pool.fetchval(NOW)
    return instant


async def episode(pool: "asyncpg.Pool[Any]", subject: str, known: datetime | None) -> list[Row] | None:
    """What had been recorded by then about an episode; None when nothing ever was."""
    rows = await pool.fetch(EPISODE, subject, known)
    return [tuple(row) for row in rows] if rows or await pool.fetchval(IS_KNOWN, subject) else None


async def standing(pool: "asyncpg.Pool[Any]", late: bool | None, limit: int | None) -> list[Chosen]:
    """Episode and id of the handoffs that wait for an answer: only the late ones, only the others, or all."""
    return [tuple(row) for row in await pool.fetch(STANDING, late, limit)]


async def said(pool: "asyncpg.Pool[Any]", word: str, limit: int) -> list[Chosen]:
    """Episode and id of the handoffs about which this was said, the newest first."""
    return [tuple(row) for row in await pool.fetch(SAID, word, limit)]


async def of_episodes(pool: "asyncpg.Pool[Any]", subjects: Sequence[str]) -> list[Row]:
    """What was said about these episodes, as far as handoffs go."""
    return [tuple(row) for row in await pool.fetch(OF_EPISODES, list(subjects))]


async def took(pool: "asyncpg.Pool[Any]", newest: int) -> list[tuple[str, timedelta]]:
    """Kind, and how long it took, of the newest answered handoffs."""
    return [tuple(row) for row in await pool.fetch(TOOK, newest)]


async def page(pool: "asyncpg.Pool[Any]", after: str, limit: int) -> tuple[list[Row], str | None]:
    """What was said about the next so many subjects, and after which one the next page begins; None on the last page."""
    rows = await pool.fetch(PAGE, after, limit)
    subjects = {row["subject"] for row in rows}
    events = [(row["attributes"], row["data"]) for row in rows if row["attributes"] is not None]
    return events, rows[-1]["subject"] if len(subjects) == limit else None
