"""Steps that run at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def together(*steps: Callable[[], None]) -> None:
    """Run all of them, wait for all of them, then raise the first error."""
    if not steps:
        return
    with ThreadPoolExecutor(len(steps)) as pool:
        futures = [pool.submit(step) for step in steps]
    for future in futures:
        future.result()
