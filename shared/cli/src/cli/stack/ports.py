"""Free ports on loopback."""

import random
import socket
from collections.abc import Set

# Below the range from which the kernel hands out ports for outgoing connections, so that none is taken between choice and use.
_RANGE = range(20_000, 32_000)


def choose(previous: int | None, taken: Set[int]) -> int:
    """The port used last time while nobody else took it, else a free one that the stack has not promised to another part."""
    if previous is not None and is_free(previous):
        return previous
    for port in random.sample(_RANGE, 200):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port between 20000 and 32000")


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
