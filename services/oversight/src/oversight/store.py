"""Every SQL statement of oversight's own; the table `record` only ever grows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from oversight.domain.entry import Entry

# One row per event, whole batches at once; what was recorded before stays as it was.
RECORD = """
    INSERT INTO record (source, id, type, topic, part, position, digest, subject, sequence, time, attributes, data)
    SELECT source, id, type, topic, part, position, digest, subject, sequence::bigint, time::timestamptz, attributes::json, data
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::bytea[], $8::text[], $9::text[],
                  $10::text[], $11::text[], $12::bytea[])
        AS e (source, id, type, topic, part, position, digest, subject, sequence, time, attributes, data)
        ON CONFLICT (source, id) DO NOTHING"""

# Entries whose (source, id) is on record with other content.
CONFLICTS = """
    SELECT e.topic, e.part, e.position
      FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::int[], $6::bigint[])
        AS e (source, id, digest, topic, part, position)
      JOIN record r USING (source, id) WHERE r.digest <> e.digest"""

# Everything our services said about one episode, in the order in which it was recorded.
EPISODE = "SELECT attributes, data FROM record WHERE subject = $1 AND attributes IS NOT NULL ORDER BY n"

# Handoffs that stand: offered, and neither answered nor given up by their arbiter; the soonest deadline first.
STANDING = """
    WITH said AS (
        SELECT subject, source, split_part(split_part(type, '.', 4), '-', 2) AS word, convert_from(data, 'UTF8')::jsonb AS body
          FROM record WHERE type LIKE '%.handoff-%' AND attributes IS NOT NULL)
    SELECT o.subject AS episode, o.body ->> 'handoff_id' AS handoff_id, o.body ->> 'giver' AS giver,
           o.body ->> 'receiver' AS receiver, o.body ->> 'kind' AS kind, (o.body ->> 'attempt')::int AS attempt,
           (o.body ->> 'deadline')::timestamptz AS deadline, (o.body ->> 'deadline')::timestamptz < messaging.now() AS late
      FROM said o
     WHERE o.word = 'offered' AND ($1::boolean IS NULL OR $1 = ((o.body ->> 'deadline')::timestamptz < messaging.now()))
       AND NOT EXISTS (SELECT FROM said v WHERE v.subject = o.subject AND v.source = o.source
                          AND v.body ->> 'handoff_id' = o.body ->> 'handoff_id'
                          AND v.word IN ('accepted', 'declined', 'overdue'))
     ORDER BY deadline LIMIT $2"""


async def write(pool: "asyncpg.Pool[Any]", entries: Sequence[Entry]) -> list[tuple[str, int, int]]:
    """Records a batch, and returns the places of entries that are on record with other content."""
    status = await pool.execute(RECORD, *map(list, zip(*entries, strict=True)))
    if int(status.rpartition(" ")[2]) == len(entries):
        return []
    columns = zip(*((e.source, e.id, e.digest, e.topic, e.part, e.position) for e in entries), strict=True)
    return [tuple(row) for row in await pool.fetch(CONFLICTS, *map(list, columns))]


async def episode(pool: "asyncpg.Pool[Any]", subject: str) -> list[tuple[str, bytes]]:
    """Attributes, as JSON text, and data of every event about an episode."""
    return [(row["attributes"], row["data"]) for row in await pool.fetch(EPISODE, subject)]


async def standing(pool: "asyncpg.Pool[Any]", late: bool | None, limit: int) -> list[dict[str, str | int | bool | datetime]]:
    """Handoffs that wait for an answer; only the late ones, only the others, or all."""
    return [dict(row) for row in await pool.fetch(STANDING, late, limit)]
