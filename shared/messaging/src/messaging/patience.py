"""Patience with trouble of the infrastructure, which holds a batch; content that fails is bisected until it is alone."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from messaging import timeouts

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


async def holding(act: Callable[[], Awaitable[Any]], given_up: asyncio.Event, noticed: Callable[[BaseException], None]) -> bool:
    """Repeats an act through whatever goes wrong, with growing pauses, until it works or is given up (False)."""
    pause = _FIRST_PAUSE
    while not given_up.is_set():
        try:
            await act()
            return True
        except Exception as error:
            noticed(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(given_up.wait(), pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)
    return False


async def bisecting(
    batch: Sequence[Any], act: Callable[[Sequence[Any]], Awaitable[Any]], alone: Callable[[Any, Exception], Awaitable[None]]
) -> None:
    """Acts on a batch; when its content fails, on its halves in order, and hands what fails alone to `alone`."""
    try:
        await act(batch)
    except Exception as error:
        if not await timeouts.is_content(batch, act, error):
            return
        if len(batch) == 1:
            await alone(batch[0], error)
            return
        half = len(batch) // 2
        await bisecting(batch[:half], act, alone)
        await bisecting(batch[half:], act, alone)
