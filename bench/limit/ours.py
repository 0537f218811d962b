"""The kit's way: a service with one route, its consumer loop and its relay in one process."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bench.limit.load import Moved, Noted
from bench.limit.race import Lane, Stopwatch, run
from messaging.decision import Decision, Facts
from messaging.routes import Kept, Routes, on
from messaging.service import Service
from messaging.settings import KitSettings


@dataclass(frozen=True)
class Count:
    """How many events a subject had."""

    moved: int = 0


def on_moved(event: Moved, count: Count | None, facts: Facts[Any]) -> Decision[Count]:
    """When something moved, it is counted and said."""
    moved = Count((count.moved if count else 0) + 1)
    return Decision(moved, publish=[Noted(number=event.number, text=event.text)])


class Settings(KitSettings):
    """Nothing of its own."""


def service_for(lane: Lane) -> Service:
    """The service on its own database, in the group that goes on where the last round ended."""
    settings = Settings(
        postgres_dsn=lane.dsn, kafka_bootstrap=lane.bootstrap, secret_key="only-for-this-bench",
        stop_within=timedelta(seconds=5), log_level="error",
    )  # fmt: skip
    return Service("followup", settings, Routes(Kept("count", Count, on(Moved, on_moved))))


async def until(service: Service, relayed: int) -> None:
    """Returns when so many events are acknowledged by the broker."""
    while service.meters.relayed._value.get() < relayed:
        await asyncio.sleep(0.005)


async def move(lane: Lane, watch: Stopwatch) -> None:
    """Runs the service until every event is relayed."""
    service = service_for(lane)
    running = asyncio.create_task(service.run(("consume", "relay")))
    while not hasattr(service, "membership") or not service.meters.batch_size._sum.get():
        await asyncio.sleep(0.002)
    watch.start()
    await until(service, lane.count)
    watch.stop()
    service.stopping.set()
    await running


if __name__ == "__main__":
    run(move)
