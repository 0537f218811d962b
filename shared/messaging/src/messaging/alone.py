"""Who lost a race three times decides alone: under the lock of the subject's state, which nobody else can change meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from messaging.message import Placed

# A subject that nobody knows yet gets a row to lock, as it does in the write.
_ROOM = """
    INSERT INTO messaging.state (kind, subject, version, schema) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING"""
_LOCK = "SELECT FROM messaging.state WHERE kind = $1 AND subject = $2 FOR UPDATE"


@asynccontextmanager
async def locked(pool: "asyncpg.Pool[Any]", part: Placed) -> AsyncIterator[Any]:
    """A connection in a transaction that holds the state of the part's one subject, and commits what is written in it.

    PostgreSQL ends it when its process falls silent (`idle_in_transaction_session_timeout`).
    """
    message = part[0][1]
    async with pool.acquire() as connection, connection.transaction():
        if message.kept and message.subject and not message.trouble:
            await connection.execute(_ROOM, message.kept.kind, message.subject, message.kept.schema)
            await connection.execute(_LOCK, message.kept.kind, message.subject)
        yield connection
