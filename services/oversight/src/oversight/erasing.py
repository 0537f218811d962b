"""`ledger erase`: bodies that need not be kept any longer are erased, once it is in the ledger that they are.

The entries stay, under the same root: what they commit to of a body is a salted digest, and the salt goes with it. Only the
retention role may do it, and nothing else; whoever erases without an entry that says so is found by `ledger verify`.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from contracts.oversight import ContentErased
from messaging import machinery
from messaging.service import Service
from oversight import ledger_store as store
from oversight.app import build, retaining
from oversight.settings import Settings

Say = Callable[[str], None]
_AT_ONCE, _WAIT, _LOOK_EVERY = 5000, timedelta(seconds=30), 0.5


async def erase(settings: Settings, before: datetime, actor: str, reason: str, say: Say) -> int:
    """0 when every body recorded before then is erased, 1 when oversight has not yet recorded that they are to be, 2 when asked
    wrongly. Done again, it goes on where it was interrupted.
    """
    if settings.retention_dsn is None:
        say("set OVERSIGHT_RETENTION_DSN to the DSN of the retention role: nobody else may erase")
        return 2
    youngest = datetime.now(UTC) - settings.retention
    if before > youngest:
        say(f"bodies are kept for {settings.retention.days} days (OVERSIGHT_RETENTION): {youngest:%Y-%m-%d} is the latest day")
        return 2
    service = build(settings)
    await service.open()
    try:
        stop = await store.older_than(service.pool, before)
        if not await _announced(service, ContentErased(operator=actor, reason=reason, first=0, stop=max(stop, 1)), stop):
            say("it is not in the ledger yet, and nothing is erased: run this again once oversight runs")
            return 1
        await _carry_out(settings.retention_dsn.get_secret_value(), service.pool, say)
    finally:
        await service.pool.close()
    return 0


async def _announced(service: Service, event: ContentErased, stop: int) -> bool:
    """Whether it is in the ledger and signed that everything up to there is erased."""
    until = asyncio.get_running_loop().time() + _WAIT.total_seconds()
    while stop > max((erased.stop for erased in await store.erasures(service.pool)), default=0):
        key = f"erased up to {stop}"
        await service.processor.handle([machinery.saying(service.routes, service.source, service.source, key, [event])])
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(_LOOK_EVERY)
    return True


async def _carry_out(dsn: str, pool: "asyncpg.Pool[Any]", say: Say) -> None:
    """Whatever was announced, and is not done yet."""
    announced = await store.erasures(pool)
    async with retaining(dsn) as retention:
        erased = 0
        for span in announced:
            for first in range(span.start, span.stop, _AT_ONCE):
                erased += await store.erase(retention, first, min(first + _AT_ONCE, span.stop))
                say(f"  {min(first + _AT_ONCE, span.stop):,} entries looked at, {erased:,} bodies erased")
    say(f"{erased:,} bodies were erased; their entries stay")
