"""SQL of somebody who owns the database: rows of the ledger's tables as PostgreSQL itself writes them, and every hash anew."""

import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from ledger.entry import LedgerEntry
from ledger.tree import Frontier, Node

Row = list[bytes | None]

ENTRY_COLUMNS = ("index", *LedgerEntry._fields, "leaf")
HELD = "SELECT size FROM frontier FOR UPDATE"
ENTRY = "SELECT * FROM entry WHERE index = $1"
TABLES = {
    "subtree": "SELECT * FROM subtree ORDER BY level, index",
    "checkpoint": "SELECT * FROM checkpoint ORDER BY size",
    "frontier": "SELECT * FROM frontier",
}
CLEARED = {"subtree": "DELETE FROM subtree", "checkpoint": "DELETE FROM checkpoint", "frontier": "DELETE FROM frontier"}
WITHOUT = "DELETE FROM entry WHERE index = $1"
UNTIL = "DELETE FROM entry WHERE index >= $1"
REHASH = "UPDATE entry SET digest = $2, leaf = $3 WHERE index = $1"
ERASE = "UPDATE entry SET salt = NULL, attributes = NULL, data = NULL WHERE index = $1"
PLANT = "INSERT INTO subtree SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])"
FRONTIER = "UPDATE frontier SET appended = $1, size = $2, nodes = $3"
SET_BACK = "INSERT INTO frontier (appended, size, nodes) VALUES ($1, $2, $3)"
SIGNED_UNTIL = "DELETE FROM checkpoint WHERE size > $1"
SIGN = "INSERT INTO checkpoint (size, note) VALUES ($1, $2)"

_SIGNATURE, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), struct.pack("!h", -1)


async def hold(connection: Any) -> None:
    """Nobody appends or signs until the end of the transaction."""
    await connection.execute(HELD)


async def entry_row(connection: Any, index: int) -> Row:
    """The fields of one entry in PostgreSQL's binary format."""
    return (await _copied(connection, ENTRY, index))[0]


async def put_entry(connection: Any, index: int, row: Row) -> None:
    """In its place; asyncpg.PostgresError when a column cannot hold such a value."""
    await connection.execute(WITHOUT, index)
    await connection.copy_to_table("entry", source=BytesIO(_packed([row])), format="binary")


async def table_rows(connection: Any, table: str) -> list[Row]:
    """All rows of a small table, as they are."""
    return await _copied(connection, TABLES[table])


async def put_table(connection: Any, table: str, rows: Sequence[Row]) -> None:
    """These rows and no others; asyncpg.PostgresError when a column cannot hold such a value."""
    await connection.execute(CLEARED[table])
    await connection.copy_to_table(table, source=BytesIO(_packed(rows)), format="binary")


async def entries_from(connection: Any, index: int, entries: Sequence[tuple[LedgerEntry, bytes]]) -> None:
    """From this index on there are these entries with these leaves, and nothing after them."""
    await connection.execute(UNTIL, index)
    records = [(number, *entry, leaf) for number, (entry, leaf) in enumerate(entries, index)]
    await connection.copy_records_to_table("entry", records=records, columns=ENTRY_COLUMNS)


async def without(connection: Any, index: int) -> None:
    """The entry is gone, and its place is empty."""
    await connection.execute(WITHOUT, index)


async def rehash(connection: Any, index: int, digest: bytes, leaf: bytes) -> None:
    """The entry says so of itself."""
    await connection.execute(REHASH, index, digest, leaf)


async def erase(connection: Any, index: int) -> None:
    """The body alone is gone."""
    await connection.execute(ERASE, index)


async def tree(connection: Any, appended: int, grown: Frontier, nodes: Sequence[Node]) -> None:
    """The tables of the tree say this, and nothing else."""
    columns = map(list, zip(*nodes, strict=True)) if nodes else ([], [], [])
    await connection.execute(CLEARED["subtree"])
    await connection.execute(PLANT, *columns)
    await connection.execute(FRONTIER, appended, grown.size, grown.nodes)


async def add_frontier(connection: Any, appended: int, grown: Frontier) -> None:
    """The row that says how far the tree is, where it was taken away."""
    await connection.execute(SET_BACK, appended, grown.size, grown.nodes)


async def signed_until(connection: Any, size: int) -> None:
    """No checkpoint of more entries is kept."""
    await connection.execute(SIGNED_UNTIL, size)


async def sign(connection: Any, size: int, note: str) -> None:
    """One more checkpoint."""
    await connection.execute(SIGN, size, note)


async def _copied(connection: Any, query: str, *values: object) -> list[Row]:
    out = BytesIO()
    await connection.copy_from_query(query, *values, output=out, format="binary")
    return _unpacked(out.getvalue())


def _packed(rows: Sequence[Row]) -> bytes:
    parts = [_SIGNATURE]
    for row in rows:
        parts.append(struct.pack("!h", len(row)))
        parts += [struct.pack("!i", -1) if each is None else struct.pack("!i", len(each)) + each for each in row]
    return b"".join([*parts, _END])


def _unpacked(raw: bytes) -> list[Row]:
    rows, at = list[Row](), len(_SIGNATURE)
    while (count := struct.unpack_from("!h", raw, at)[0]) >= 0:
        at, row = at + 2, Row()
        for _ in range(count):
            (length,) = struct.unpack_from("!i", raw, at)
            at += 4
            row.append(None if length < 0 else raw[at : at + length])
            at += max(length, 0)
        rows.append(row)
    return rows
