"""Which shards this relay may send: leased by time, fenced by an epoch that changes only when another takes over."""

from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

import asyncpg

# Takes the shards that are free or ours.
RENEW = """
    UPDATE messaging.relay SET owner = $1, expires_at = clock_timestamp() + $2,
           epoch = CASE WHEN owner = $1 THEN epoch ELSE epoch + 1 END
     WHERE shard IN (SELECT shard FROM messaging.relay WHERE owner = $1 OR expires_at < clock_timestamp()
                      ORDER BY shard FOR UPDATE SKIP LOCKED)
 RETURNING shard, epoch, sent"""
# Cursors move past what was sent, and what is next is brought.
NEXT = "SELECT shard, topic, key, headers, value, n FROM messaging.next($1, $2, $3, $4, $5)"
RELEASE = "UPDATE messaging.relay SET expires_at = '-infinity', owner = NULL WHERE owner = $1"
# So often others are found to write to our shards when they did not lately.
_LOOK_EVERY = 0.25


@dataclass(slots=True)
class Cursor:
    """How far a shard is sent, under the epoch in which it is held; the database's own cursor is moved by the next look."""

    epoch: int
    sent: int


class Lease:
    """The shards of one owner and their cursors; `renew_at`, and `look_at` for rows of others, are monotonic."""

    def __init__(self, pool: "asyncpg.Pool[Any]", owner: str, length: timedelta) -> None:
        self._pool, self.owner, self._length = pool, owner, length
        self.renew_at = self.look_at = 0.0
        self.cursors: dict[int, Cursor] = {}

    async def renew(self) -> None:
        """Holds what is held, and takes what is free."""
        asked = monotonic()
        rows = await self._pool.fetch(RENEW, self.owner, self._length)
        self.cursors = {row["shard"]: self._cursor(row) for row in rows}
        self.renew_at = asked + self._length.total_seconds() / 3

    def _cursor(self, row: Any) -> Cursor:
        known = self.cursors.get(row["shard"])
        return known if known and known.epoch == row["epoch"] else Cursor(row["epoch"], row["sent"])

    async def next(self, per_shard: int, known: int = 0) -> tuple[list[Any], dict[int, int]]:
        """The next rows of the outbox, oldest first, and the last number of each shard; none of shards that others hold now.

        The database is told how far each shard was sent. Who knew so many rows and finds others has to look again at once.
        """
        held = [(shard, cursor.epoch, cursor.sent) for shard, cursor in self.cursors.items()]
        columns = zip(*held, strict=True) if held else ((), (), ())
        rows = await self._pool.fetch(NEXT, self.owner, *columns, per_shard)
        self.look_at = monotonic() + (_LOOK_EVERY if len(rows) == known else 0)
        return rows, {row["shard"]: row["n"] for row in rows}

    def doubt(self) -> None:
        """The next turn renews it first, and looks."""
        self.renew_at = self.look_at = 0.0

    async def release(self) -> None:
        """Gives the shards back at once, so that another replica need not wait for the lease to run out."""
        await self._pool.execute(RELEASE, self.owner)
