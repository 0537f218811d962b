"""The world outside: says things through the public doors until a door says that it has them."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from tests.faults import asking
from tests.faults.history import MARK

_ASK_WITHIN, _ASK_AGAIN, _AT_ONCE, _CLOSE_WITHIN = 10.0, (0.2, 0.5, 1.0, 2.0, 4.0), 40, 10.0
# What is known here may not be known there yet.
_NOT_YET, _OURS_TO_MEND = 404, 500


class Outside:
    """One producer and a few HTTP requests at once; whatever fails is said again, with the same id."""

    def __init__(self, bootstrap: str, urls: Callable[[str], Sequence[str]]) -> None:
        self._bootstrap, self._urls = bootstrap, urls
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._waiting: set[asyncio.Task[None]] = set()
        self._turn = 0

    async def open(self) -> None:
        """Connects to the broker."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", linger_ms=5, max_batch_size=256 * 1024, request_timeout_ms=600_000
        )
        await self._producer.start()

    async def close(self) -> None:
        """Gives up whatever no door has taken."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._producer.stop(), _CLOSE_WITHIN)

    @property
    def waiting(self) -> int:
        """How many records the broker has not acknowledged yet."""
        return len(self._waiting)

    async def send(self, record: dict[str, Any], mark: str | None = None) -> "asyncio.Task[None]":
        """Hands a record to the producer, in the order of calls; the task ends when the broker has it."""
        marked = {**record, "headers": [*record["headers"], (MARK, mark.encode())]} if mark else record
        task = asyncio.create_task(self._acknowledged(marked, await self._begin(marked)))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return task

    async def _begin(self, record: dict[str, Any]) -> "asyncio.Future[Any] | None":
        try:
            future: asyncio.Future[Any] = await self._producer.send(**record)
        except KafkaError:
            return None
        return future

    async def _acknowledged(self, record: dict[str, Any], future: "asyncio.Future[Any] | None") -> None:
        while True:
            try:
                if future is not None:
                    await asyncio.shield(future)
                    return
            except KafkaError:
                pass
            await asyncio.sleep(1.0)
            future = await self._begin(record)

    async def post(self, service: str, path: str, body: Any, key: str) -> int:
        """The status of an answer, from any replica; 5xx, 404 and silence are asked again with the same key."""
        for pause in chain(_ASK_AGAIN, repeat(_ASK_AGAIN[-1])):
            urls = self._urls(service)
            self._turn += 1
            try:
                async with self._asking:
                    status = await asking.post(urls[self._turn % len(urls)] + path, body, key, _ASK_WITHIN)
                if status < _OURS_TO_MEND and status != _NOT_YET:
                    return status
            except asking.NoAnswer:
                pass
            await asyncio.sleep(pause)
        raise AssertionError
