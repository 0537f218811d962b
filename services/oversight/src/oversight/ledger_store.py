"""SQL of the tree over the entries: how far it is, its hashes, and the checkpoints that were signed."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple, cast

import asyncpg

from ledger.entry import LedgerEntry
from ledger.proofs import Span
from ledger.tree import HASH_BYTES, Frontier, Node

REACH = """
    SELECT appended, size, nodes, (SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1) AS note FROM frontier"""
LEAVES = "SELECT leaf FROM entry WHERE index >= $1 AND index < $2 ORDER BY index"

# Spans of neighbours at once, each as one text of bytes: hundreds of rows cost more than the hashes in them. LIMIT tells the
# planner that each span is short.
SPANS = """
    SELECT s.level, s.start, h.count, h.hashes
      FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS s (level, start, stop), LATERAL (
           SELECT count(*), string_agg(hash, '' ORDER BY index) AS hashes FROM (
               (SELECT index, leaf AS hash FROM entry
                 WHERE s.level = 0 AND index >= s.start AND index < s.stop ORDER BY index LIMIT s.stop - s.start)
               UNION ALL
               (SELECT index, hash FROM subtree
                 WHERE s.level > 0 AND level = s.level AND index >= s.start AND index < s.stop
                 ORDER BY index LIMIT s.stop - s.start)) AS each) AS h"""

# The same with the index of each, for spans of which some are missing.
HASHES = """
    SELECT s.level, h.index, h.hash
      FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS s (level, start, stop), LATERAL (
           SELECT index, leaf AS hash FROM entry WHERE s.level = 0 AND index >= s.start AND index < s.stop
           UNION ALL
           SELECT index, hash FROM subtree WHERE level = s.level AND index >= s.start AND index < s.stop) AS h"""

# The tree grows only from where it was believed to be; who comes second changes nothing, and is told 0.
GROW = """
    WITH grown AS (UPDATE frontier SET size = $2, nodes = $3 WHERE size = $1 RETURNING 1),
         kept AS (INSERT INTO subtree (level, index, hash)
                  SELECT n.* FROM unnest($4::int[], $5::bigint[], $6::bytea[]) AS n, grown),
         signed AS (INSERT INTO checkpoint (size, note) SELECT n.* FROM unnest($7::bigint[], $8::text[]) AS n, grown)
    SELECT count(*) FROM grown"""

# A time that Python cannot hold was never recorded; it is read as the nearest that it can.
ENTRIES = """
    SELECT index, leaf, source, id, type, topic, part, position, subject,
           greatest('0001-01-01 00:00:00+00', least('9999-12-31 23:59:59.999999+00', recorded_at)),
           digest, salt, attributes, data
      FROM entry WHERE index >= $1 AND ($2::bigint IS NULL OR index < $2) ORDER BY index"""

# All that is kept beside the entries, as it is, to be held against what it should be.
FRONTIERS = "SELECT appended, size, nodes, array_dims(nodes) AS dims FROM frontier"
SIGNED = "SELECT size, note FROM checkpoint ORDER BY size"
TREE = "SELECT level, index, hash FROM subtree ORDER BY level, index"

# Where the ledger has the events of one handoff, or of one event by its id.
PLACES = """
    SELECT index FROM entry
     WHERE id = $1 OR (type LIKE '%.handoff-%' AND convert_from(data, 'UTF8')::jsonb ->> 'handoff_id' = $1) ORDER BY index"""


# All entries before it were recorded before then.
OLDER_THAN = """
    SELECT coalesce((SELECT min(index) FROM entry WHERE recorded_at >= $1), (SELECT appended FROM frontier))"""

# Every erasure that is signed; the body of one is never erased.
ERASURES = """
    SELECT (convert_from(data, 'UTF8')::jsonb ->> 'first')::bigint AS first,
           (convert_from(data, 'UTF8')::jsonb ->> 'stop')::bigint AS stop
      FROM entry WHERE type = 'care.rapport.oversight.content-erased.v1' AND topic = 'oversight.events.v1' AND data IS NOT NULL
       AND index < (SELECT size FROM frontier)
     ORDER BY index"""
ERASE = """
    UPDATE entry SET salt = NULL, attributes = NULL, data = NULL
     WHERE index >= $1 AND index < $2 AND data IS NOT NULL AND type <> 'care.rapport.oversight.content-erased.v1'"""
_LEAST = -(2**63)


class Reach(NamedTuple):
    """How many entries there are, the tree over the first of them, and the newest checkpoint as it was signed."""

    appended: int
    tree: Frontier
    note: str | None


async def reach(pool: "asyncpg.Pool[Any]") -> Reach:
    """ValueError when the frontier is no frontier."""
    (row,) = await pool.fetch(REACH)
    return Reach(row["appended"], Frontier(row["size"], tuple(row["nodes"])), row["note"])


async def leaves(pool: "asyncpg.Pool[Any]", start: int, stop: int) -> list[bytes]:
    """The leaf hashes of these entries, in their order."""
    return [row["leaf"] for row in await pool.fetch(LEAVES, start, stop)]


async def hashes(pool: "asyncpg.Pool[Any]", spans: Iterable[Span]) -> dict[tuple[int, int], bytes]:
    """Stored hashes by level and index; what is not there is missing in the answer."""
    wanted = list(spans)
    if not wanted:
        return {}
    columns = list(map(list, zip(*wanted, strict=True)))
    rows = await pool.fetch(SPANS, *columns)
    if sum(row["count"] for row in rows) != sum(span.stop - span.start for span in wanted):
        return {(level, index): each for level, index, each in await pool.fetch(HASHES, *columns)}
    return {
        (level, start + n): together[n * HASH_BYTES : (n + 1) * HASH_BYTES]
        for level, start, count, together in rows
        for n in range(count)
    }


async def grow(
    pool: "asyncpg.Pool[Any]", size: int, tree: Frontier, completed: Sequence[Node], notes: Mapping[int, str]
) -> bool:
    """The tree as it is now, its new subtrees and its new checkpoints, all at once; False when somebody else was first."""
    columns = zip(*completed, strict=True) if completed else ((), (), ())
    values = (size, tree.size, tree.nodes, *map(list, columns), list(notes), list(notes.values()))
    return bool(await pool.fetchval(GROW, *values))


async def places(pool: "asyncpg.Pool[Any]", what: str) -> list[int]:
    """Where the events of a handoff are, or one event by its id."""
    return [row["index"] for row in await pool.fetch(PLACES, what)]


def snapshot(connection: Any) -> AbstractAsyncContextManager[Any]:
    """Everything read in it is as it was in one instant; within a transaction, as that one sees it."""
    if connection.is_in_transaction():
        return nullcontext()
    return cast("AbstractAsyncContextManager[Any]", connection.transaction(isolation="repeatable_read", readonly=True))


async def entries(
    connection: Any, start: int = 0, stop: int | None = None, at_once: int = 2000
) -> AsyncIterator[list[tuple[int, bytes, LedgerEntry]]]:
    """Index, leaf as stored, and entry, in batches, as they were in one instant."""
    make = LedgerEntry._make
    async with snapshot(connection):
        cursor = await connection.cursor(ENTRIES, start, stop)
        while rows := await cursor.fetch(at_once):
            yield [(row[0], row[1], make(row[2:])) for row in rows]


async def all_rows(connection: Any, at_once: int) -> AsyncIterator[list[Sequence[Any]]]:
    """Index, leaf, and the fields of a LedgerEntry, from the least index on; the next batch is on its way while one is read.

    Nothing else may be asked on this connection until the last one came.
    """
    async with snapshot(connection):
        cursor = await connection.cursor(ENTRIES, _LEAST, None)
        rows = await cursor.fetch(at_once)
        while rows:
            ahead = asyncio.ensure_future(cursor.fetch(at_once))
            try:
                await asyncio.sleep(0)
                yield rows
            finally:
                rows = await ahead


async def kept_frontiers(connection: Any) -> list[tuple[int, int, list[bytes], str | None]]:
    """Appended, size, nodes and the array's bounds: one row, when nobody took it away."""
    return [tuple(row) for row in await connection.fetch(FRONTIERS)]


async def kept_checkpoints(connection: Any) -> list[tuple[int, str]]:
    """Size and note of every row, the smallest first."""
    return [tuple(row) for row in await connection.fetch(SIGNED)]


async def kept_subtrees(connection: Any) -> dict[tuple[int, int], bytes]:
    """Every stored hash by its level and index."""
    return {(row[0], row[1]): row[2] for row in await connection.fetch(TREE)}


async def older_than(pool: "asyncpg.Pool[Any]", instant: datetime) -> int:
    """The index up to which everything was recorded before that instant."""
    return int(await pool.fetchval(OLDER_THAN, instant))


async def erasures(pool: "asyncpg.Pool[Any]") -> list[range]:
    """Indexes whose bodies may be gone, as far as that is signed."""
    return [range(row["first"], row["stop"]) for row in await pool.fetch(ERASURES)]


async def erase(retention: "asyncpg.Pool[Any]", first: int, stop: int) -> int:
    """Erases the bodies of these entries, as the retention role; returns how many there were."""
    status = await retention.execute(ERASE, first, stop)
    return int(status.rpartition(" ")[2])
