"""Sends the outbox to Kafka, in order per shard, and moves the cursor only past what the broker acknowledged.

Invariants: one relay per shard at a time, fenced by the epoch of its lease; one batch in flight per shard and topic; after any
error the producer is thrown away, so first occurrences stay in order. What its own process committed is not read back.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaProducer
from pydantic_core import from_json

from messaging.lease import Lease
from messaging.metrics import Meters
from messaging.outbox import Row, Stretch


class Relay:
    """One relay loop over all shards it can lease; `told` says that there may be something to send."""

    def __init__(self, producer: Callable[[], AIOKafkaProducer], lease: Lease, meters: Meters) -> None:
        self._new_producer, self._lease, self._meters = producer, lease, meters
        self._producer: AIOKafkaProducer | None = None
        self._handed: deque[tuple[Sequence[Row], list[Stretch]]] = deque(maxlen=4)
        self.told = asyncio.Event()

    def hand(self, rows: Sequence[Row], stretches: Iterable[Stretch]) -> None:
        """What this process has committed, in the order of its commits; what is not kept stands in the outbox."""
        if self._lease.cursors:
            self._handed.append((rows, list(stretches)))
        self.told.set()

    async def turn(self, per_shard: int = 500) -> int:
        """Sends what is due once and returns how many rows; raises on any error after throwing the producer away."""
        try:
            if monotonic() >= self._lease.renew_at:
                await self._lease.renew()
            rows, ends = self._in_hand()
            if not rows or monotonic() >= self._lease.look_at:
                rows, ends = await self._lease.next(per_shard, len(rows))
            if rows:
                await self._send(rows, ends)
            return len(rows)
        except BaseException:
            await self.discard_producer()
            raise

    def _in_hand(self) -> tuple[Sequence[Row], dict[int, int]]:
        """What was handed over, where it goes on from what is sent; nothing when anything is in between."""
        handed, rows = list(self._handed), list[Row]()
        self._handed.clear()
        ends = {shard: cursor.sent for shard, cursor in self._lease.cursors.items()}
        for batch, stretches in handed:
            unsent = {shard: last for shard, _, last in stretches if last > ends.get(shard, last)}
            if any(shard in unsent and before != ends[shard] for shard, before, _ in stretches):
                return [], ends
            rows += [row for row in batch if row[0] in unsent]
            ends |= unsent
        return rows, ends

    async def _send(self, rows: Sequence[Row], ends: dict[int, int]) -> None:
        if self._producer is None:
            self._producer = self._new_producer()
            await self._producer.start()
        shards: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            shards[row[0]][row[1]].append(row)
        sending = (self._send_shard(self._producer, shard, topics, ends[shard]) for shard, topics in shards.items())
        for failed in filter(None, await asyncio.gather(*sending, return_exceptions=True)):
            raise failed

    async def _send_shard(self, producer: AIOKafkaProducer, shard: int, topics: dict[str, list[Row]], end: int) -> None:
        await asyncio.gather(*(self._send_group(producer, shard, topic, group) for topic, group in topics.items()))
        self._lease.cursors[shard].sent = end
        self._meters.relayed.inc(sum(map(len, topics.values())))

    async def _send_group(self, producer: AIOKafkaProducer, shard: int, topic: str, group: Sequence[Row]) -> None:
        taken = 0
        while taken < len(group):
            batch = producer.create_batch()
            while taken < len(group) and _append(batch, group[taken]):
                taken += 1
            batch.close()
            await (await producer.send_batch(batch, topic, partition=shard))

    async def discard_producer(self) -> None:
        """The next send begins with a new producer and a fresh lease."""
        producer, self._producer = self._producer, None
        self._lease.doubt()
        if producer is not None:
            await asyncio.shield(producer.stop())


def _append(batch: Any, row: Row) -> bool:
    headers = [(name, value.encode()) for name, value in from_json(row[3])]
    return batch.append(key=row[2].encode(), value=row[4], timestamp=None, headers=headers) is not None
