"""SQL of what is read to prove something: entries at their places, and the checkpoints they are proven under."""

from collections.abc import Sequence
from typing import Any

from ledger.entry import LedgerEntry

ENTRIES = f"SELECT index, {', '.join(LedgerEntry._fields)} FROM entry WHERE index = ANY ($1) ORDER BY index"  # noqa: S608
NOTE = "SELECT note FROM checkpoint WHERE size = $1"
NEWEST = "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"


async def entries(pool: Any, indexes: Sequence[int]) -> list[tuple[int, LedgerEntry]]:
    """The entries at these places, those that are there."""
    return [(row[0], LedgerEntry._make(row[1:])) for row in await pool.fetch(ENTRIES, list(indexes))]


async def note(pool: Any, size: int | None = None) -> str | None:
    """The checkpoint of this size as it was signed, or the newest; None when there is none."""
    found = await (pool.fetchval(NEWEST) if size is None else pool.fetchval(NOTE, size))
    return None if found is None else str(found)
