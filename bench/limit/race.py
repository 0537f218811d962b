"""What the contestants share: their arguments, a stopwatch for time and own CPU, and one line of JSON at the end."""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter, process_time

import uvloop

from messaging.main import collect_seldom


@dataclass(frozen=True)
class Lane:
    """Where a contestant works: broker, its own database, and how many events it is to move."""

    bootstrap: str
    dsn: str
    group: str
    count: int


class Stopwatch:
    """Wall time and own CPU from the first batch to the last acknowledgement."""

    def start(self) -> None:
        """The first events are here."""
        self._began = perf_counter(), process_time()

    def stop(self) -> None:
        """The last one is acknowledged."""
        self.seconds, self.cpu = perf_counter() - self._began[0], process_time() - self._began[1]


def run(move: Callable[[Lane, Stopwatch], Awaitable[None]]) -> None:
    """Moves the events and prints events per second and own CPU microseconds per event."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "dsn", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    lane, watch = Lane(**vars(parser.parse_args())), Stopwatch()

    async def race() -> None:
        # As in a service of ours; for all contestants alike.
        collect_seldom()
        await asyncio.wait_for(move(lane, watch), 300)

    uvloop.run(race())
    print(json.dumps({"events_per_s": lane.count / watch.seconds, "own_cpu_us": watch.cpu / lane.count * 1e6}))
