"""Sends the outbox to Kafka, in order per shard, and moves the cursor only past what the broker acknowledged.

Invariants: one relay per shard at a time, fenced by the epoch of its lease; one batch in flight per shard; after any error the
producer is thrown away and the cursor read again, so first occurrences stay in order and a paused relay cannot move a cursor.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from time import monotonic
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer
from pydantic_core import from_json

from contracts.envelope import to_headers
from messaging.metrics import Meters

# Takes the shards that are free or ours; a holder's epoch only changes when another takes over.
LEASE = """
    UPDATE messaging.relay SET owner = $1, expires_at = clock_timestamp() + $2,
           epoch = CASE WHEN owner = $1 THEN epoch ELSE epoch + 1 END
     WHERE shard IN (SELECT shard FROM messaging.relay WHERE owner = $1 OR expires_at < clock_timestamp()
                      ORDER BY shard FOR UPDATE SKIP LOCKED)
 RETURNING shard, epoch"""
# The next rows of each leased shard, oldest first.
NEXT = """
    SELECT r.shard, o.n, o.topic, o.key, o.attributes, o.value
      FROM messaging.relay r CROSS JOIN LATERAL (
           SELECT * FROM messaging.outbox o WHERE o.shard = r.shard AND o.n > r.sent ORDER BY o.n LIMIT $2) o
     WHERE r.owner = $1 AND r.shard = ANY ($3) ORDER BY r.shard, o.n"""
# Moves the cursors of shards whose epoch is still ours.
MOVE = """
    UPDATE messaging.relay r SET sent = m.sent FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS m (shard, epoch, sent)
     WHERE r.shard = m.shard AND r.epoch = m.epoch AND r.sent < m.sent"""
RELEASE = "UPDATE messaging.relay SET expires_at = '-infinity', owner = NULL WHERE owner = $1"


class Relay:
    """One relay loop over all shards it can lease."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", producer: Callable[[], AIOKafkaProducer], owner: str, meters: Meters, lease: Any
    ) -> None:
        self._pool, self._new_producer, self._owner, self._meters, self._lease = pool, producer, owner, meters, lease
        self._producer: AIOKafkaProducer | None = None
        self._epochs: dict[int, int] = {}
        self._renew_at = 0.0
        self.committed = asyncio.Event()

    async def turn(self, per_shard: int = 500) -> int:
        """Sends what is due once and returns how many rows; raises on any error after throwing the producer away."""
        try:
            await self._renew()
            rows = await self._pool.fetch(NEXT, self._owner, per_shard, list(self._epochs))
            if rows:
                await self._send(rows)
            return len(rows)
        except BaseException:
            await self.discard_producer()
            raise

    async def _renew(self) -> None:
        if monotonic() >= self._renew_at:
            leased = await self._pool.fetch(LEASE, self._owner, self._lease)
            self._epochs = {row["shard"]: row["epoch"] for row in leased}
            self._renew_at = monotonic() + self._lease.total_seconds() / 3

    async def _send(self, rows: Sequence[Any]) -> None:
        if self._producer is None:
            self._producer = self._new_producer()
            await self._producer.start()
        groups: dict[tuple[int, str], list[Any]] = defaultdict(list)
        for row in rows:
            groups[row["shard"], row["topic"]].append(row)
        await asyncio.gather(*(self._send_group(*key, group) for key, group in groups.items()))
        sent = {row["shard"]: row["n"] for row in rows}
        await self._pool.execute(MOVE, list(sent), [self._epochs[shard] for shard in sent], list(sent.values()))
        self._meters.relayed.inc(len(rows))

    async def _send_group(self, shard: int, topic: str, group: Sequence[Any]) -> None:
        assert self._producer is not None
        left = list(group)
        while left:
            batch = self._producer.create_batch()
            taken = sum(1 for _ in takewhile(partial(_append, batch), left))
            batch.close()
            await (await self._producer.send_batch(batch, topic, partition=shard))
            left = left[taken:]

    async def discard_producer(self) -> None:
        """The next send begins with a new producer and the cursors as the database has them."""
        producer, self._producer, self._renew_at = self._producer, None, 0.0
        if producer is not None:
            await asyncio.shield(producer.stop())

    async def release(self) -> None:
        """Gives the shards back at once, so that another replica need not wait for the lease to run out."""
        await self.discard_producer()
        await self._pool.execute(RELEASE, self._owner)


def _append(batch: Any, row: Any) -> bool:
    headers = to_headers(from_json(row["attributes"]))
    return batch.append(key=row["key"].encode(), value=row["value"], timestamp=None, headers=headers) is not None
