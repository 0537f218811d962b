"""Tells a batch whose content makes the database too slow from a database that is slow or away."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from messaging.message import Received
from messaging.parking import Parks
from messaging.trouble import is_infrastructure

_PING_WITHIN = 2.0
TIMEOUTS = (TimeoutError, asyncpg.QueryCanceledError)


async def is_content(batch: Sequence[Any], act: Callable[[Sequence[Any]], Awaitable[Any]], error: Exception) -> bool:
    """True when the batch is to be bisected, False when a second try went through; raises what the infrastructure did.

    A timeout is tried once more: when the database answers an empty batch, and the same one runs into the same again, it is
    the content's. A command's never is, since its caller asks again; nor is that of messages which are only to be parked in
    their lanes: they wait for whoever holds the lane's row.
    """
    if not is_infrastructure(error):
        return True
    if not isinstance(error, TIMEOUTS) or not any(map(_may_be_slow, batch)):
        raise error
    await _ping(act)
    try:
        await act(batch)
    except TIMEOUTS:
        await _ping(act)
        return True
    return False


async def _ping(act: Callable[[Sequence[Any]], Awaitable[Any]]) -> None:
    async with asyncio.timeout(_PING_WITHIN):
        await act([])


def _may_be_slow(message: Any) -> bool:
    return isinstance(message, Received) and not (message.route and isinstance(message.route.handler, Parks))
