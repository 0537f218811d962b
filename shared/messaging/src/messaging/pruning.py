"""Forgets what nobody needs any more, in small portions: sent and counted events of the outbox, old claims of the inbox."""

from datetime import datetime, timedelta
from typing import Any

import asyncpg

# A demo stack may shift our clock; ids are given out by another one.
NOW = "SELECT least(messaging.now(), clock_timestamp())"
PRUNE_OUTBOX = "SELECT messaging.prune_outbox($1, $2, $3)"
# Claims of what is set aside stay; the instant is written down before, since a replay must not go behind it.
FORGET_BEFORE = """
    INSERT INTO messaging.pruned AS p (what, before) VALUES ('inbox', $1)
        ON CONFLICT (what) DO UPDATE SET before = greatest(p.before, excluded.before)"""
OLD_CLAIMS = """
    DELETE FROM messaging.inbox i USING (
           SELECT source, id FROM messaging.inbox old
            WHERE at < $1 AND outcome NOT IN ('waiting', 'parked') AND NOT EXISTS (
                  SELECT FROM messaging.parked p WHERE p.source = old.source AND p.id = old.id) ORDER BY at LIMIT $2) o
     WHERE i.source = o.source AND i.id = o.id AND i.outcome NOT IN ('waiting', 'parked')"""
# In the order of an index: as a plain EXISTS its plan takes a third of all claims for old, and reads them all to find none.
ANY_OLD_CLAIM = """
    SELECT (SELECT at FROM messaging.inbox WHERE outcome NOT IN ('waiting', 'parked') ORDER BY at LIMIT 1) < $1"""


class Pruning:
    """Keeps the tables of one service bounded; `inbox_kept` must be longer than any topic is kept."""

    def __init__(self, pool: "asyncpg.Pool[Any]", source: str, outbox_kept: timedelta, inbox_kept: timedelta) -> None:
        self._pool, self._source, self._outbox_kept, self._inbox_kept = pool, source, outbox_kept, inbox_kept

    async def turn(self, portion: int = 2000) -> bool:
        """One portion of each; True when there may be more."""
        now: datetime = await self._pool.fetchval(NOW)
        per_shard = max(1, portion // 12)
        said = await self._pool.fetchval(PRUNE_OUTBOX, self._source, first_id_of(now - self._outbox_kept), per_shard)
        return await self._claims(now - self._inbox_kept, portion) or said >= per_shard

    async def _claims(self, before: datetime, portion: int) -> bool:
        if not await self._pool.fetchval(ANY_OLD_CLAIM, before):
            return False
        await self._pool.execute(FORGET_BEFORE, before)
        status = await self._pool.execute(OLD_CLAIMS, before, portion)
        return int(status.rpartition(" ")[2]) >= portion


def first_id_of(instant: datetime) -> str:
    """The smallest UUIDv7 of an instant: its first 48 bits are milliseconds."""
    millis = f"{max(0, round(instant.timestamp() * 1000)):012x}"
    return f"{millis[:8]}-{millis[8:]}-7000-8000-000000000000"
