"""Sends the outbox to Kafka, in order per shard, and moves the cursor only past what the broker acknowledged.

Invariants: one relay per shard at a time, fenced by the epoch of its lease; one batch in flight per shard and topic; after any
error the producer is thrown away and the cursor read again, so first occurrences stay in order.
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

from messaging.lease import Lease
from messaging.metrics import Meters

# The next rows of each leased shard, oldest first.
NEXT = """
    SELECT r.shard, o.n, o.topic, o.key, o.headers, o.value
      FROM messaging.relay r CROSS JOIN LATERAL (
           SELECT * FROM messaging.outbox o WHERE o.shard = r.shard AND o.n > r.sent ORDER BY o.n LIMIT $2) o
     WHERE r.owner = $1 AND r.shard = ANY ($3) ORDER BY r.shard, o.n"""
# Moves the cursors of shards whose epoch is still ours.
MOVE = """
    UPDATE messaging.relay r SET sent = m.sent FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS m (shard, epoch, sent)
     WHERE r.shard = m.shard AND r.epoch = m.epoch AND r.sent < m.sent"""


class Relay:
    """One relay loop over all shards it can lease."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", producer: Callable[[], AIOKafkaProducer], lease: Lease, meters: Meters
    ) -> None:
        self._pool, self._new_producer, self._lease, self._meters = pool, producer, lease, meters
        self._producer: AIOKafkaProducer | None = None

    async def turn(self, per_shard: int = 500) -> int:
        """Sends what is due once and returns how many rows; raises on any error after throwing the producer away."""
        try:
            if monotonic() >= self._lease.renew_at:
                await self._lease.renew()
            epochs = self._lease.epochs
            rows = await self._pool.fetch(NEXT, self._lease.owner, per_shard, list(epochs))
            if rows:
                await self._send(rows)
                sent = {row["shard"]: row["n"] for row in rows}
                await self._pool.execute(MOVE, list(sent), [epochs[shard] for shard in sent], list(sent.values()))
                self._meters.relayed.inc(len(rows))
            return len(rows)
        except BaseException:
            await self.discard_producer()
            raise

    async def _send(self, rows: Sequence[Any]) -> None:
        if self._producer is None:
            self._producer = self._new_producer()
            await self._producer.start()
        groups: dict[tuple[int, str], list[Any]] = defaultdict(list)
        for row in rows:
            groups[row["shard"], row["topic"]].append(row)
        await asyncio.gather(*(self._send_group(self._producer, *key, group) for key, group in groups.items()))

    async def _send_group(self, producer: AIOKafkaProducer, shard: int, topic: str, group: Sequence[Any]) -> None:
        left = list(group)
        while left:
            batch = producer.create_batch()
            taken = sum(1 for _ in takewhile(partial(_append, batch), left))
            batch.close()
            await (await producer.send_batch(batch, topic, partition=shard))
            left = left[taken:]

    async def discard_producer(self) -> None:
        """The next send begins with a new producer, a fresh lease, and the cursors as the database has them."""
        producer, self._producer = self._producer, None
        self._lease.doubt()
        if producer is not None:
            await asyncio.shield(producer.stop())


def _append(batch: Any, row: Any) -> bool:
    headers = [(name, value.encode()) for name, value in from_json(row["headers"])]
    return batch.append(key=row["key"].encode(), value=row["value"], timestamp=None, headers=headers) is not None
