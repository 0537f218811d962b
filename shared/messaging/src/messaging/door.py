"""The door for HTTP commands: those that come while a batch is in hand are decided together as the next one."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from contracts.envelope import Envelope
from contracts.event import Event
from messaging import patience
from messaging.decision import Command
from messaging.message import Answer, Received
from messaging.processor import Processor
from messaging.received import bind
from messaging.routes import Routes


@dataclass(frozen=True, slots=True)
class _Asked:
    message: Received
    answer: asyncio.Future[Answer]


class Door:
    """Takes commands in; each caller gets its answer after the commit."""

    def __init__(self, routes: Routes, processor: Processor, max_batch: int, answer_within: float = 30.0) -> None:
        self._routes, self._processor, self._max_batch, self._answer_within = routes, processor, max_batch, answer_within
        self._asked: asyncio.Queue[_Asked | None] = asyncio.Queue(maxsize=10_000)

    async def handle(self, envelope: Envelope, data: Event | Command) -> Answer:
        """The answer to a command, the same for the same (source, id).

        Raises TimeoutError when nobody answered in time, and whatever the database or a handler of ours failed with.
        """
        message = bind(envelope, data.model_dump_json(exclude_none=True).encode(), self._routes)
        asked = _Asked(message, asyncio.get_running_loop().create_future())
        async with asyncio.timeout(self._answer_within):
            await self._asked.put(asked)
            return await asked.answer

    def close(self) -> None:
        """Nobody comes any more: a turn that waits for commands ends."""
        with suppress(asyncio.QueueFull):
            self._asked.put_nowait(None)

    async def turn(self) -> None:
        """Waits for commands and decides all that are there, as one batch."""
        batch = [first] if (first := await self._asked.get()) else []
        while len(batch) < self._max_batch and not self._asked.empty():
            batch += [asked] if (asked := self._asked.get_nowait()) else []
        waiting = [asked for asked in batch if not asked.answer.done()]
        if not waiting:
            return
        try:
            await patience.bisecting(waiting, self._settle, _fail)
        except Exception as error:
            for asked in waiting:
                await _fail(asked, error)

    async def _settle(self, batch: Sequence[_Asked]) -> None:
        answers = await self._processor.handle([asked.message for asked in batch])
        for asked, answer in zip(batch, answers, strict=True):
            if not asked.answer.done():
                asked.answer.set_result(answer)


async def _fail(asked: Any, error: Exception) -> None:
    if not asked.answer.done():
        asked.answer.set_exception(error)
