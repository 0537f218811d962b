"""What a decision says, as rows of the outbox: complete CloudEvents with their counter, in the order they will be sent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from aiokafka.partitioner import murmur2
from uuid_utils import uuid7

from contracts.envelope import Envelope, attributes_of
from contracts.event import Event
from contracts.topics import PARTITIONS

# The broker's default limit is 1 MiB for a whole batch of records; attributes and framing need a little of it.
MAX_VALUE = 900_000


class TooLarge(ValueError):
    """The event would be refused by the broker, so it must not enter the outbox."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event to be sent; `shard` is its Kafka partition."""

    shard: int
    topic: str
    key: str
    attributes: str
    value: bytes


@lru_cache(maxsize=100_000)
def shard_of(key: str) -> int:
    """The partition Kafka's default partitioner gives a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


def rows(
    source: str, topic: str, subject: str, events: Sequence[Event], cause: Envelope, now: datetime, sequence: int
) -> list[Row]:
    """The rows of one decision about one subject; its first event gets the counter after `sequence`.

    Raises TooLarge for an event that the broker would refuse.
    """
    through_our_door = cause.source.startswith(f"{source}/")
    caused_by = cause.causationid if through_our_door else cause.id
    out = []
    for number, event in enumerate(events, sequence + 1):
        value = event.model_dump_json(exclude_none=True).encode()
        if len(value) > MAX_VALUE:
            raise TooLarge
        envelope = Envelope(
            id=str(uuid7()), source=source, type=event.type, subject=subject, time=now, recordedtime=now,
            dataschema=f"/schemas/{event.type}.json", correlationid=cause.correlationid or cause.id,
            causationid=caused_by, sequence=number,
            actor=f"service:{source.rpartition('/')[2]}", sensitivity=cause.sensitivity, traceparent=cause.traceparent,
        )  # fmt: skip
        out.append(Row(shard_of(subject), topic, subject, json.dumps(attributes_of(envelope)), value))
    return out
