"""What a decision says, as rows of the outbox: complete CloudEvents with their counter, in the order they will be sent."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from aiokafka.partitioner import murmur2
from pydantic_core import to_json
from uuid_utils import uuid7

from contracts.envelope import Envelope
from contracts.event import Event
from contracts.topics import PARTITIONS

# The broker's default limit is 1 MiB for a whole batch of records; attributes and framing need a little of it.
MAX_VALUE = 900_000
Row = tuple[int, str, str, str, bytes]  # shard, topic, key, headers, value
Stretch = tuple[int, int, int]  # what a commit appended to a shard: the shard, the number before it, its last number


class TooLarge(ValueError):
    """The event would be refused by the broker, so it must not enter the outbox."""


@lru_cache(maxsize=100_000)
def shard_of(key: str) -> int:
    """The partition Kafka's default partitioner gives a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


def rows(
    source: str, topic: str, subject: str, events: Sequence[Event], cause: Envelope, now: datetime, sequence: int
) -> list[Row]:
    """One decision's rows, counted on from `sequence`; raises TooLarge for an event that the broker would refuse."""
    through_our_door = cause.source.startswith(f"{source}/")
    shared = {
        "ce_subject": subject, "ce_correlationid": cause.correlationid or cause.id,
        "ce_causationid": cause.causationid if through_our_door else cause.id, "ce_sensitivity": cause.sensitivity,
        "traceparent": cause.traceparent,
    }  # fmt: skip
    pairs = [(name, value) for name, value in shared.items() if value]
    tail = f"{to_json(pairs).decode()[1:-1]},{_always(source, now)}]"
    return [_row(tail, topic, subject, event, number) for number, event in enumerate(events, sequence + 1)]


def _row(tail: str, topic: str, subject: str, event: Event, number: int) -> Row:
    value = event.__pydantic_serializer__.to_json(event, exclude_none=True)
    if len(value) > MAX_VALUE:
        raise TooLarge
    headers = f'[["ce_id","{uuid7()}"],["ce_sequence","{number:020d}"],{_of_type(event.type)},{tail}'
    return shard_of(subject), topic, subject, headers, value


@lru_cache(maxsize=10)
def _always(source: str, now: datetime) -> str:
    at, actor = now.isoformat().replace("+00:00", "Z"), f"service:{source.rpartition('/')[2]}"
    pairs = {"specversion": "1.0", "source": source, "time": at, "recordedtime": at, "actor": actor}
    written = [*((f"ce_{name}", value) for name, value in pairs.items()), ("content-type", "application/json")]
    return to_json(written).decode()[1:-1]


@lru_cache(maxsize=1000)
def _of_type(event_type: str) -> str:
    return f'["ce_type","{event_type}"],["ce_dataschema","/schemas/{event_type}.json"]'
