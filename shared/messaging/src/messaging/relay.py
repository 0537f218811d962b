"""Sends the outbox to Kafka, in order per shard, and moves the cursor only past what the broker acknowledged.

Invariants: one relay per shard at a time, fenced by the epoch of its lease; one batch in flight per shard and topic; after any
error the producer is thrown away, so first occurrences stay in order.
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

NEXT = "SELECT * FROM messaging.next($1, $2, $3, $4, $5)"


class Relay:
    """One relay loop over all shards it can lease; each turn begins by moving the cursors past what the last one sent."""

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
            held = [(shard, cursor.epoch, cursor.sent) for shard, cursor in self._lease.cursors.items()]
            columns = zip(*held, strict=True) if held else ((), (), ())
            rows = await self._pool.fetch(NEXT, self._lease.owner, *columns, per_shard)
            if rows:
                await self._send(rows)
            return len(rows)
        except BaseException:
            await self.discard_producer()
            raise

    async def _send(self, rows: Sequence[Any]) -> None:
        if self._producer is None:
            self._producer = self._new_producer()
            await self._producer.start()
        shards: dict[int, list[Any]] = defaultdict(list)
        for row in rows:
            shards[row["shard"]].append(row)
        sending = (self._send_shard(self._producer, shard, mine) for shard, mine in shards.items())
        failed = [done for done in await asyncio.gather(*sending, return_exceptions=True) if done]
        if failed:
            raise failed[0]

    async def _send_shard(self, producer: AIOKafkaProducer, shard: int, rows: Sequence[Any]) -> None:
        topics: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            topics[row["topic"]].append(row)
        await asyncio.gather(*(self._send_group(producer, shard, topic, group) for topic, group in topics.items()))
        self._lease.cursors[shard].sent = rows[-1]["n"]
        self._meters.relayed.inc(len(rows))

    async def _send_group(self, producer: AIOKafkaProducer, shard: int, topic: str, group: Sequence[Any]) -> None:
        left = list(group)
        while left:
            batch = producer.create_batch()
            taken = sum(1 for _ in takewhile(partial(_append, batch), left))
            batch.close()
            await (await producer.send_batch(batch, topic, partition=shard))
            left = left[taken:]

    async def discard_producer(self) -> None:
        """The next send begins with a new producer and a fresh lease."""
        producer, self._producer = self._producer, None
        self._lease.doubt()
        if producer is not None:
            await asyncio.shield(producer.stop())


def _append(batch: Any, row: Any) -> bool:
    headers = [(name, value.encode()) for name, value in from_json(row["headers"])]
    return batch.append(key=row["key"].encode(), value=row["value"], timestamp=None, headers=headers) is not None
