"""The events that are moved: 450 bytes of JSON with the attributes that Rapport's events have, keyed by subject."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, ClassVar
from uuid import UUID

from aiokafka import AIOKafkaProducer

from contracts.event import Event
from contracts.topics import CLINICAL, FOLLOWUP
from messaging.outbox import shard_of

INBOUND, OUTBOUND = CLINICAL, FOLLOWUP
SUBJECTS = 5_000
_TIME = "2026-11-23T09:00:00.125000Z"


class Moved(Event):
    """What comes in; its text fills the payload up to 450 bytes."""

    type: ClassVar[str] = "care.rapport.clinical.bench-moved.v1"

    number: int
    text: str


class Noted(Event):
    """What goes out: the same again."""

    type: ClassVar[str] = "care.rapport.followup.bench-noted.v1"

    number: int
    text: str


_ATTRIBUTES = {
    "specversion": "1.0", "id": "", "source": "/bench", "type": Moved.type, "subject": "", "time": _TIME,
    "dataschema": f"/schemas/{Moved.type}.json", "recordedtime": _TIME, "correlationid": "bench", "actor": "bench",
}  # fmt: skip
_HEADERS = {f"ce_{name}": text.encode() for name, text in _ATTRIBUTES.items()} | {"content-type": b"application/json"}
_VALUE = '{"number": %d, "text": "%s"}'


def record(number: int) -> dict[str, Any]:
    """One event as a batch of the producer takes it: key, value and headers."""
    subject, event_id = str(UUID(int=number % SUBJECTS)).encode(), str(UUID(int=1_000_000 + number)).encode()
    value = _VALUE % (number, "x" * (450 - len(_VALUE % (number, ""))))
    headers = _HEADERS | {"ce_id": event_id, "ce_subject": subject}
    return {"key": subject, "value": value.encode(), "headers": list(headers.items())}


async def publish(producer: AIOKafkaProducer, numbers: Iterable[int]) -> None:
    """Sends events, each to its key's partition, and returns when the broker has all of them.

    In batches made here, since a load that takes half a core for itself would be what is measured.
    """
    batches: dict[int, Any] = {}
    sent: list[Awaitable[Any]] = []
    for number in numbers:
        event = record(number)
        shard = shard_of(event["key"].decode())
        while shard not in batches or batches[shard].append(timestamp=None, **event) is None:
            if shard in batches:
                sent.append(await producer.send_batch(batches[shard], INBOUND, partition=shard))
            batches[shard] = producer.create_batch()
    sent += [await producer.send_batch(batch, INBOUND, partition=shard) for shard, batch in batches.items()]
    await asyncio.gather(*sent)
