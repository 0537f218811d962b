"""Keeps a client of the broker calm while no broker answers: aiokafka asks again at once, as fast as the processor can.

Without it a consumer or a producer takes all the processor it can get and writes a thousand log lines a second while the broker
is away (https://github.com/aio-libs/aiokafka/issues/1155 is the same loop for partitions without a leader).
"""

import asyncio
from time import monotonic
from typing import Any

LEAST_PAUSE = 0.25


def calm(client: Any) -> None:
    """Two questions of an AIOKafkaClient about its cluster are so far apart from now on; done twice, it is done once."""
    ask = client._metadata_update
    if getattr(ask, "is_calm", False):
        return
    asked = -LEAST_PAUSE

    async def patiently(*words: Any) -> bool:
        nonlocal asked
        await asyncio.sleep(asked + LEAST_PAUSE - monotonic())
        asked = monotonic()
        return bool(await ask(*words))

    patiently.is_calm = True  # type: ignore[attr-defined]
    client._metadata_update = patiently
