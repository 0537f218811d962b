"""Free ports on loopback."""

import random
import socket
import time
from collections.abc import Set

# Below the range from which the kernel hands out ports for outgoing connections, so that none is taken between choice and use.
_RANGE = range(20_000, 32_000)


def choose(previous: int | None, taken: Set[int]) -> int:
    """The port used last time while nobody else took it, else a free one that the stack has not promised to another part.

    The connections of a server that was killed may hold its port for a moment more.
    """
    if previous is not None and _becomes_free(previous, within=3.0):
        return previous
    for port in random.sample(_RANGE, 200):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port between 20000 and 32000")


def _becomes_free(port: int, *, within: float) -> bool:
    deadline = time.monotonic() + within
    while not (free := is_free(port)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return free


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
