"""Brings batches from the client of the broker; what it drops when it fails in the middle is brought again.

An error while the client unpacks one partition loses what it has unpacked of others in the same call, and FastStream goes on as
if nothing had been.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import ConsumerStoppedError, IllegalStateError

from messaging.stops import Stops

log = structlog.get_logger()
Batch = tuple[ConsumerRecord, ...]
# How long the partition is looked for that cannot be unpacked, and how soon it is tried again.
_LOOK_FOR_IT, _TRY_AGAIN, _MOMENT = 5.0, 60.0, 0.05


class Bringing:
    """Stands before the subscriber's own way to its records; `again` has everything that is not handled brought again."""

    def __init__(
        self, subscriber: Any, stops: Stops, again: Callable[[Exception], Awaitable[None]],
        brought: Callable[[Sequence[ConsumerRecord]], None], max_batch: int,
    ) -> None:  # fmt: skip
        self._bring, self._stops, self._again, self._brought = subscriber.get_msg, stops, again, brought
        self._max_batch, self._found_at = max_batch, 0.0
        subscriber.get_msg = self.bring

    async def bring(self, reading: Any) -> Batch:
        """The next batch, or none; raises only when the client was stopped."""
        try:
            records: Batch = await self._bring(reading)
        except ConsumerStoppedError:
            raise
        except Exception as error:
            await self._again(error)
            records = await self._without_the_unreadable(reading)
        self._brought(records)
        return records

    def try_again(self) -> None:
        """Called now and then: what could not be unpacked is tried again after a while."""
        if monotonic() - self._found_at > _TRY_AGAIN:
            self._stops.unreadable.clear()

    async def _without_the_unreadable(self, reading: Any) -> Batch:
        """Partition by partition, so that nothing of others is lost when one fails again; that one rests for a while."""
        until = monotonic() + _LOOK_FOR_IT
        while monotonic() < until:
            for place in sorted(reading.assignment() - reading.paused()):
                try:
                    found = await reading.getmany(place, max_records=self._max_batch)
                except (ConsumerStoppedError, IllegalStateError):
                    return ()
                except Exception as error:
                    self._set_aside(reading, place, type(error).__name__)
                    return ()
                if found:
                    return tuple(found[place])
            await asyncio.sleep(_MOMENT)
        return ()

    def _set_aside(self, reading: Any, place: Any, kind: str) -> None:
        self._stops.unreadable[place], self._found_at = kind, monotonic()
        self._stops.hold(reading, place)
        log.error("partition_unreadable", topic=place.topic, partition=place.partition, kind=kind)
