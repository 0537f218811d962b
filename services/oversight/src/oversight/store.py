"""SQL of what oversight records and reconciles; `entry`, the ledger, only ever grows."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from contracts.topics import OWNED, PARTITIONS
from ledger.entry import LedgerEntry, leaf_of
from oversight.domain.claim import Base, Claim
from oversight.domain.entry import said

# A batch in its order, one row per event; what was recorded before stays as it was.
APPEND = "SELECT append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"

# What the ledger has of events that a batch brought again; `n` is their place in the batch.
RECORDED = """
    SELECT n, digest, salt, attributes, data
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS b (source, id, n) JOIN entry USING (source, id)"""

# What a source says; said again it changes nothing.
CLAIM = """
    INSERT INTO claimed (source, part, count, digest, last_id, at)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
     ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING"""

# The next claim of each partition, and failed ones that were not looked at for half a minute, with what is on record after the
# place up to which earlier ones were settled. `read`: the partition was read past the claim.
PENDING = """
    WITH next AS (
        (SELECT c.* FROM unnest($1::text[]) AS o (source) CROSS JOIN generate_series(0, $4::int - 1) AS p (part)
          CROSS JOIN LATERAL (SELECT * FROM claimed c WHERE c.source = o.source AND c.part = p.part AND c.problem IS NULL
                               ORDER BY c.count LIMIT 1) c)
        UNION ALL
        (SELECT c.* FROM claimed c
          WHERE problem IS NOT NULL AND looked_at < (SELECT clock_timestamp() - interval '30 seconds')
          ORDER BY looked_at LIMIT 20))
    SELECT c.source, c.part, c.count, c.digest, c.last_id, c.at, c.problem,
           CASE WHEN c.problem IS NULL THEN b.count ELSE c.base_count END AS base_count,
           CASE WHEN c.problem IS NULL THEN b.digest ELSE c.base_digest END AS base_digest,
           coalesce(CASE WHEN c.problem IS NULL THEN b.position ELSE c.base_position END, -1) AS base_position,
           b.at AS base_at, last.position, counted.found, counted.found_digest,
           coalesce(p.read_up_to > c.at + $3::interval, false) AS read, coalesce(h.whole, true) AS whole
      FROM next c JOIN unnest($1::text[], $2::text[]) AS owner (source, topic) USING (source)
      LEFT JOIN reconciled b USING (source, part)
      LEFT JOIN messaging.progress p ON p.topic = owner.topic AND p.part = c.part
      LEFT JOIN messaging.hearing h ON h.topic = owner.topic AND h.part = c.part
      LEFT JOIN entry last
             ON last.source = c.source AND last.id = c.last_id AND last.topic = owner.topic AND last.part = c.part
     CROSS JOIN LATERAL (
           SELECT count(*) AS found, sum(substr(sha256(convert_to(r.id, 'UTF8')), 1, 8)::bigint) AS found_digest
             FROM entry r
            WHERE r.topic = owner.topic AND r.part = c.part AND r.source = c.source
              AND r.position > coalesce(CASE WHEN c.problem IS NULL THEN b.position ELSE c.base_position END, -1)
              AND r.position <= last.position) counted"""

# Claims are settled: later ones are counted on from there. At most one of each partition at once.
SETTLED = """
    INSERT INTO reconciled AS r (source, part, count, digest, position, at)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::bigint[], $6::timestamptz[]) ORDER BY 1, 2
        ON CONFLICT (source, part) DO UPDATE SET count = excluded.count, digest = excluded.digest,
           position = excluded.position, at = excluded.at
     WHERE r.count < excluded.count"""
FORGET = """
    DELETE FROM claimed c USING unnest($1::text[], $2::int[], $3::bigint[]) AS s (source, part, count)
     WHERE c.source = s.source AND c.part = s.part AND c.count = s.count"""
FAIL = """
    UPDATE claimed SET problem = $4, failed_at = clock_timestamp(), looked_at = clock_timestamp(), base_count = $5,
           base_digest = $6, base_position = $7
     WHERE source = $1 AND part = $2 AND count = $3"""
LOOK_AGAIN = (
    "UPDATE claimed SET looked_at = clock_timestamp() WHERE source = $1 AND part = $2 AND count = $3 AND problem IS NOT NULL"
)
FAILED = "SELECT count(*) FROM claimed WHERE problem IS NOT NULL"
FAILURES = """
    SELECT source, part AS partition, problem, count AS claimed, last_id, failed_at
      FROM claimed WHERE problem IS NOT NULL ORDER BY failed_at LIMIT 100"""
RECONCILED = """
    SELECT source, sum(count)::bigint AS events, max(at) AS until FROM reconciled GROUP BY source ORDER BY source"""

# The ledger built anew, beside the old one; only the owner may.
ANEW = """
    DROP SCHEMA IF EXISTS rebuilt CASCADE;
    CREATE SCHEMA rebuilt;
    CREATE TABLE rebuilt.entry (LIKE public.entry INCLUDING ALL);
    CREATE TABLE rebuilt.claimed (LIKE public.claimed INCLUDING ALL);
    CREATE TABLE rebuilt.frontier (LIKE public.frontier INCLUDING ALL);
    INSERT INTO rebuilt.frontier DEFAULT VALUES"""
FORGET_ANEW = "DROP SCHEMA rebuilt CASCADE"

# Old and new, topic by topic. What only the old one has is aged when its partition begins later now, or its topic is compacted.
# What only Kafka has counts as far as the ledger has come: the rest is on its way. A body that was erased cannot be compared.
COMPARED = """
    WITH seen AS (SELECT topic, part, max(position) AS position FROM public.entry GROUP BY topic, part)
    SELECT topic, count(*) FILTER (WHERE o.index IS NOT NULL AND n.index IS NOT NULL AND NOT differs) AS same,
           count(*) FILTER (WHERE n.index IS NULL AND aged) AS aged,
           count(*) FILTER (WHERE n.index IS NULL AND NOT aged) AS only_on_record,
           count(*) FILTER (WHERE o.index IS NULL AND n.position < s.position) AS only_in_kafka,
           count(*) FILTER (WHERE o.index IS NOT NULL AND n.index IS NOT NULL AND differs) AS differing
      FROM public.entry o FULL JOIN rebuilt.entry n USING (source, id, topic, part)
      JOIN unnest($1::text[], $2::int[], $3::bigint[]) AS b (topic, part, begins) USING (topic, part)
      LEFT JOIN seen s USING (topic, part)
     CROSS JOIN LATERAL (
           SELECT o.type IS DISTINCT FROM n.type OR CASE
                      WHEN n.data IS NULL THEN o.digest IS DISTINCT FROM n.digest
                      ELSE o.data <> n.data OR o.attributes <> n.attributes END AS differs,
                  o.position < b.begins OR topic = ANY ($4::text[]) AS aged) is_so
     GROUP BY topic ORDER BY topic"""


async def write(pool: "asyncpg.Pool[Any]", entries: Sequence[LedgerEntry]) -> tuple[int, list[LedgerEntry]]:
    """Records a batch; returns how many were new, and those that are on record with other content."""
    columns = *map(list, zip(*entries, strict=True)), list(map(leaf_of, entries))
    new = int(await pool.fetchval(APPEND, *columns))
    if new == len(entries):
        return new, []
    rows = await pool.fetch(RECORDED, *columns[:2])
    return new, [entries[row["n"] - 1] for row in rows if _differs(entries[row["n"] - 1], row)]


def _differs(entry: LedgerEntry, row: Mapping[str, Any]) -> bool:
    """An entry of our own whose body was erased cannot be compared any more."""
    recorded = entry._replace(**{name: row[name] for name in ("digest", "salt", "attributes", "data")})
    return said(recorded) != said(entry) and (entry.data is None or recorded.data is not None)


async def claim(pool: "asyncpg.Pool[Any]", claims: Sequence[Claim]) -> None:
    """Keeps what sources say until it is found to be so."""
    columns = zip(*((c.source, c.part, c.count, c.digest, c.last_id, c.at) for c in claims), strict=True)
    await pool.execute(CLAIM, *map(list, columns))


async def pending(pool: "asyncpg.Pool[Any]", grace: timedelta) -> list[Any]:
    """Claims to be judged now; a partition counts as read past a claim when it is by so much."""
    return list(await pool.fetch(PENDING, list(OWNED.values()), list(OWNED), grace, PARTITIONS))


async def settle(pool: "asyncpg.Pool[Any]", settled: Sequence[tuple[Claim, int | None]]) -> None:
    """These claims are so up to a position, or older than what is; one that had failed moves nothing."""
    await _move(pool, [(claim, position) for claim, position in settled if claim.problem is None and position is not None])
    if settled:
        known = zip(*((claim.source, claim.part, claim.count) for claim, _ in settled), strict=True)
        await pool.execute(FORGET, *map(list, known))


async def _move(pool: "asyncpg.Pool[Any]", settled: Sequence[tuple[Claim, int]]) -> None:
    if settled:
        rows = ((c.source, c.part, c.count, c.digest, position, c.at) for c, position in settled)
        await pool.execute(SETTLED, *map(list, zip(*rows, strict=True)))


async def fail(pool: "asyncpg.Pool[Any]", claim: Claim, base: Base, problem: str, position: int | None) -> None:
    """The claim is kept as failed, and later ones are counted on from its last event where that is there."""
    await pool.execute(
        FAIL, claim.source, claim.part, claim.count, problem, base.count, base.digest, base.position
    )  # fmt: skip
    if position is not None and problem == "differs":
        await _move(pool, [(claim, position)])


async def look_again(pool: "asyncpg.Pool[Any]", claim: Claim) -> None:
    """A failed claim that is still not so is looked at again later."""
    await pool.execute(LOOK_AGAIN, claim.source, claim.part, claim.count)


async def failed(pool: "asyncpg.Pool[Any]") -> int:
    """How many claims failed and are still not so."""
    return int(await pool.fetchval(FAILED))


async def failures(pool: "asyncpg.Pool[Any]") -> list[dict[str, Any]]:
    """Claims that failed and are still not so, the oldest first."""
    return [dict(row) for row in await pool.fetch(FAILURES)]


async def reconciled(pool: "asyncpg.Pool[Any]") -> list[dict[str, Any]]:
    """Per source how many events were settled, and when its newest settled claim was made."""
    return [dict(row) for row in await pool.fetch(RECONCILED)]


async def begin_anew(pool: "asyncpg.Pool[Any]") -> None:
    """An empty record beside the old one, in a schema of its own."""
    await pool.execute(ANEW)


async def compared(pool: "asyncpg.Pool[Any]", begins: Sequence[tuple[str, int, int]], compacted: Sequence[str]) -> list[Any]:
    """Per topic how much is the same, and how much is not, in which way; `begins` is where partitions begin now."""
    return list(await pool.fetch(COMPARED, *map(list, zip(*begins, strict=True)), list(compacted)))


async def forget_anew(pool: "asyncpg.Pool[Any]") -> None:
    """The new one was only made to be compared."""
    await pool.execute(FORGET_ANEW)
