"""How long an event of the kit waits for its relay: from the commit's return to the broker's acknowledgement, at half speed."""

import asyncio
import json
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from time import perf_counter
from typing import Any

from bench.limit.ours import service_for, until
from bench.limit.race import Lane, Stopwatch, run
from messaging.draft import WRITE
from messaging.service import Service

_SHARDS_OF_WRITE = 26


class Waits:
    """Commits and acknowledgements of each shard, matched in order, since both keep it."""

    def __init__(self, service: Service) -> None:
        self._commits: dict[int, deque[float]] = defaultdict(deque)
        self.milliseconds: list[float] = []
        self._pool, service.processor._pool = service.pool, self  # type: ignore[assignment]
        self._send_shard, service.relay._send_shard = service.relay._send_shard, self._sending  # type: ignore[method-assign]

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection whose writes are timed."""
        async with self._pool.acquire() as connection:
            self._connection, self.fetch = connection, connection.fetch
            yield self

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        """As the connection's; a write notes when it returned."""
        answer = await self._connection.fetchrow(statement, *values)
        if statement == WRITE:
            now = perf_counter()
            for shard, count in Counter(values[_SHARDS_OF_WRITE]).items():
                self._commits[shard].extend([now] * count)
        return answer

    async def _sending(self, producer: Any, shard: int, topics: dict[str, list[Any]], end: int) -> None:
        await self._send_shard(producer, shard, topics, end)
        now = perf_counter()
        for _ in chain(*topics.values()):
            if self._commits[shard]:
                self.milliseconds.append((now - self._commits[shard].popleft()) * 1000)


async def wait(lane: Lane, watch: Stopwatch) -> None:
    """Prints that it is ready, then what events that come evenly waited; the first tenth warms up."""
    service = service_for(lane)
    running = asyncio.create_task(service.run(("consume", "relay")))
    while not hasattr(service, "membership") or service.membership.missing():
        await asyncio.sleep(0.002)
    waits = Waits(service)
    print(json.dumps({"ready": True}), flush=True)
    watch.start()
    await until(service, lane.count)
    watch.stop()
    found = sorted(waits.milliseconds[lane.count // 10 :])
    print(json.dumps({"relay_p50_ms": found[len(found) // 2], "relay_p99_ms": found[int(len(found) * 0.99)]}))
    service.stopping.set()
    await running


if __name__ == "__main__":
    run(wait)
