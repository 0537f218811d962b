"""What a service does now and then beside its work: each chore at its own pace, whatever becomes of the others."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

import structlog

from messaging.trouble import is_infrastructure

log = structlog.get_logger()


@dataclass(slots=True)
class Chore:
    """What is done, and how often at most; a turn that answers true has more to do and comes again at once."""

    name: str
    act: Callable[[], Awaitable[Any]]
    every: timedelta
    due: float = 0.0

    async def turn(self) -> None:
        """Does it if it is time."""
        if monotonic() >= self.due:
            more = await self.act()
            self.due = 0.0 if more is True else monotonic() + self.every.total_seconds()


class Chores:
    """All chores of one process, one after the other."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores

    async def turn(self) -> None:
        """Raises only trouble of the infrastructure, which concerns them all."""
        for chore in self._chores:
            try:
                await chore.turn()
            except Exception as error:
                if is_infrastructure(error):
                    raise
                chore.due = monotonic() + chore.every.total_seconds()
                log.error("chore_failed", kind=chore.name, reason=type(error).__name__)
