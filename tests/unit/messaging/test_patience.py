"""How long is waited, and what is halved: one that is slow is found among others that can only be parked."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest

from contracts.envelope import Envelope
from contracts.event import Event
from messaging import patience
from messaging.message import Received, Trouble
from messaging.parking import Parks
from messaging.routes import On
from messaging.service import Service


def message(name: str, handler: Any) -> Received:
    envelope = Envelope(id=name, source="/x", type="t", time=datetime.now(UTC))
    return Received(envelope, ("/x", name), b"", route=On(Event, handler))


SLOW, FINE = message("slow", lambda *_: None), message("fine", lambda *_: None)
ONLY_TO_BE_PARKED = message("unreadable", Parks(Trouble("schema-missing")))


async def _bisected(*batch: Received) -> tuple[list[str], list[str]]:
    done, alone = list[str](), list[str]()

    async def act(part: Sequence[Received]) -> None:
        if SLOW in part:
            raise TimeoutError
        done.extend(each.envelope.id for each in part)

    async def set_aside(each: Received, _: Exception) -> None:
        alone.append(each.envelope.id)

    await patience.bisecting(batch, act, set_aside)
    return done, alone


def test_one_that_is_slow_is_found_also_beside_one_that_is_only_to_be_parked() -> None:
    assert asyncio.run(_bisected(SLOW, ONLY_TO_BE_PARKED, FINE)) == (["unreadable", "fine"], ["slow"])


def test_what_is_only_to_be_parked_waits_for_whoever_holds_its_lane() -> None:
    async def held(_: Any) -> None:
        raise TimeoutError

    async def set_aside(*_: Any) -> None:
        pytest.fail("parked out of its lane")

    with pytest.raises(TimeoutError):
        asyncio.run(patience.bisecting([ONLY_TO_BE_PARKED], held, set_aside))


class Unstoppable:
    """A relay whose turn lasts, and whose producer flushes on however often it is cancelled; a lease that is let go."""

    def __init__(self) -> None:
        self.released = False

    async def turn(self) -> int:
        await asyncio.shield(asyncio.sleep(60))
        return 1

    async def discard_producer(self) -> None:
        for _ in range(40):
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue

    async def release(self) -> None:
        self.released = True


def test_a_drain_ends_in_time_and_lets_the_lease_go_whatever_the_producer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.service._LET_GO_WITHIN", 0.2)

    async def drained() -> tuple[int, float, bool]:
        service, part, began = Service.__new__(Service), Unstoppable(), monotonic()
        service.relay = service.lease = part  # type: ignore[assignment]
        left = await service._drain(began + 0.2)
        return left, monotonic() - began, part.released

    left, took, released = asyncio.run(drained())
    assert (left, released) == (-1, True)
    assert took < 2
