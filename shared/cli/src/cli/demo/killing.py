"""Kills services with SIGKILL while journeys are under way, and starts them again."""

import asyncio
from collections.abc import Callable, Sequence

from cli.stack.stack import Stack


async def kill_each(
    stack: Stack,
    services: Sequence[str],
    total: int,
    ended: Callable[[], int],
    sent: Callable[[], int],
    say: Callable[[str], None],
) -> None:
    """Each service dies once, spread over the journeys; what is printed was counted at that moment."""
    for place, service in enumerate(services, 1):
        while ended() < total * place / (len(services) + 2):
            await asyncio.sleep(0.02)
        stack.kill(service)
        say(f"killed {service} at {ended()}/{total}, {sent() - ended()} in flight")
        await asyncio.to_thread(stack.start, service)
