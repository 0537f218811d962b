"""The ledger: entries at contiguous indexes, subtrees, checkpoints, and the frontier; what was on record is in it from the start."""

from collections.abc import Mapping
from secrets import token_bytes
from typing import Any

from alembic import op

from ledger.entry import SALT_BYTES, LedgerEntry, digest_of, leaf_of
from messaging.migrate import run_sql

revision = "oversight_0003"
down_revision = "oversight_0002"

OLD = "SELECT * FROM public.record WHERE n > $1 ORDER BY n LIMIT 1000"
APPEND = "SELECT public.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"


def upgrade() -> None:
    run_sql(__file__)
    adapted: Any = op.get_bind().connection.dbapi_connection
    adapted.run_async(_copy)


async def _copy(connection: Any) -> None:
    last = 0
    while rows := await connection.fetch(OLD, last):
        entries = [_entry_of(row) for row in rows]
        await connection.execute(APPEND, *map(list, zip(*entries, strict=True)), list(map(leaf_of, entries)))
        last = rows[-1]["n"]


def _entry_of(row: Mapping[str, Any]) -> LedgerEntry:
    known = [row[name] for name in ("source", "id", "type", "topic", "part", "position", "subject", "recorded_at")]
    if row["data"] is None:
        return LedgerEntry(*known, row["digest"])
    salt = token_bytes(SALT_BYTES)
    return LedgerEntry(*known, digest_of(salt, row["attributes"], row["data"]), salt, row["attributes"], row["data"])
