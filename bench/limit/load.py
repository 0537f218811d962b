"""The events that are moved: 450 bytes of JSON with the attributes that Rapport's events have, keyed by subject."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID

from aiokafka import AIOKafkaProducer

from contracts.event import Event
from contracts.topics import CLINICAL, FOLLOWUP

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


def record(number: int) -> dict[str, Any]:
    """One event as the producer takes it."""
    value = {"number": number, "text": ""}
    value["text"] = "x" * (450 - len(json.dumps(value)))
    subject = str(UUID(int=number % SUBJECTS))
    attributes = {
        "specversion": "1.0", "id": str(UUID(int=1_000_000 + number)), "source": "/bench", "type": Moved.type,
        "subject": subject, "time": _TIME, "dataschema": f"/schemas/{Moved.type}.json", "recordedtime": _TIME,
        "correlationid": "bench", "actor": "bench",
    }  # fmt: skip
    headers = [*((f"ce_{name}", text.encode()) for name, text in attributes.items()), ("content-type", b"application/json")]
    return {"topic": INBOUND, "key": subject.encode(), "value": json.dumps(value).encode(), "headers": headers}


async def publish(producer: AIOKafkaProducer, numbers: Iterator[int] | range) -> None:
    """Sends events and returns when the broker has all of them."""
    for number in numbers:
        await producer.send(**record(number))
    await producer.flush()
