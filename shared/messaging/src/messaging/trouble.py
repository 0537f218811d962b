"""Tells trouble of the infrastructure, which holds a batch, from content, which is bisected until the culprit is alone."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg
from aiokafka.errors import KafkaError

from messaging.processor import Contended, NewerState

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0

# Connection, resources, serialization, deadlock, lock, shutdown, cancel, idle in transaction: PostgreSQL, appendix A.
_STATES = ("08", "53", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "57014", "25P03")


def is_infrastructure(error: BaseException) -> bool:
    """True when trying the same again later may work, whatever the content."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_STATES)
    if isinstance(error, asyncpg.DataError | ValueError):
        return False
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | KafkaError | Contended | NewerState)


async def holding(
    act: Callable[[], Awaitable[T]], go_on: Callable[[], bool], noticed: Callable[[BaseException], None]
) -> T | None:
    """Repeats an act through trouble of the infrastructure, with growing pauses, until it works or may not go on (None)."""
    pause = _FIRST_PAUSE
    while go_on():
        try:
            return await act()
        except Exception as error:
            if not is_infrastructure(error):
                raise
            noticed(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)
    return None


async def bisecting(
    batch: Sequence[Any], act: Callable[[Sequence[Any]], Awaitable[None]], alone: Callable[[Any, Exception], Awaitable[None]]
) -> None:
    """Acts on a batch; when its content fails, on its halves in order, and hands what fails alone to `alone`."""
    try:
        await act(batch)
    except Exception as error:
        if is_infrastructure(error):
            raise
        if len(batch) == 1:
            await alone(batch[0], error)
            return
        half = len(batch) // 2
        await bisecting(batch[:half], act, alone)
        await bisecting(batch[half:], act, alone)
