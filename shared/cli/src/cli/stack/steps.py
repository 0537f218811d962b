"""Steps that run at the same time, and the line that a person reads when one is done."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from cli.stack.context import Say


def together(*steps: Callable[[], None]) -> None:
    """Run all of them, wait for all of them, then raise the first error."""
    if not steps:
        return
    with ThreadPoolExecutor(len(steps)) as pool:
        futures = [pool.submit(step) for step in steps]
    for future in futures:
        future.result()


@contextmanager
def timed(say: Say, name: str, address: Callable[[], str]) -> Iterator[None]:
    """Say how long it took and where it is now."""
    began = time.monotonic()
    yield
    say(f"{name} ready in {time.monotonic() - began:.1f} s on {address()}")
