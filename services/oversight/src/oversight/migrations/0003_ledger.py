"""The ledger: entries at contiguous indexes, subtrees, checkpoints, the frontier; what was on record is its beginning."""

from collections.abc import Mapping
from secrets import token_bytes
from typing import Any

from alembic import op

from ledger.entry import SALT_BYTES, LedgerEntry, digest_of, leaf_of
from messaging.migrate import run_sql

revision = "oversight_0003"
down_revision = "oversight_0002"

OLD = """
    SELECT n, source, id, type, topic, part, position, subject, recorded_at, digest, attributes::text AS attributes, data
      FROM public.record WHERE n > $1 ORDER BY n LIMIT 1000"""
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
    known = LedgerEntry(
        row["source"], row["id"], row["type"], row["topic"], row["part"], row["position"], row["subject"], row["recorded_at"],
        row["digest"],
    )  # fmt: skip
    if row["data"] is None:
        return known
    salt, attributes, data = token_bytes(SALT_BYTES), row["attributes"], row["data"]
    return known._replace(digest=digest_of(salt, attributes, data), salt=salt, attributes=attributes, data=data)
