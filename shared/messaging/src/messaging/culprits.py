"""What becomes of a record that fails alone: it is parked in its lane, or by its place when even that fails."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from aiokafka import ConsumerRecord

from messaging import patience, unreadable
from messaging.message import Received, Trouble
from messaging.parking import unprocessable

log = structlog.get_logger()


class Culprits:
    """Parks through the same settling as everything else."""

    def __init__(self, settle: Callable[[Sequence[Received]], Awaitable[Any]]) -> None:
        self._settle = settle

    async def park(self, message: Received, error: Exception) -> None:
        """A record that can be read, but not processed or not written."""
        await patience.bisecting([unprocessable(message, error)], self._settle, self._by_place)

    async def park_unread(self, records: Sequence[ConsumerRecord], reason: str = "killed-its-readers") -> None:
        """These records are set aside without being read."""
        log.error("records_parked", reason=reason, count=len(records))
        await self._settle([unreadable.by_place(record, Trouble(reason)) for record in records])

    async def _by_place(self, message: Received, error: Exception) -> None:
        await self.park_unread([message.record], f"unprocessable-{type(error).__name__}")
