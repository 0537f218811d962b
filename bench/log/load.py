"""Kafka records as oversight reads them, in any number: the events of a whole journey and its referral, again and again."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tests.support.journeys import whole_journey

from cli.demo.people import plain_referrals
from cli.demo.referring import record_of
from contracts.binary import Headers, attributes_of, to_headers
from contracts.topics import OWNED, REFERRALS

_TOPICS = {source: topic for topic, source in OWNED.items()}


class Written(NamedTuple):
    """A Kafka record, as far as it is read."""

    topic: str
    headers: Headers
    value: bytes
    partition: int
    offset: int


class _Template(NamedTuple):
    topic: str
    headers: Headers
    value: bytes


def batches(size: int) -> Iterator[list[Written]]:
    """For ever; every record has an id of its own, every journey an episode, every topic its offsets."""
    templates, offsets = _templates(), dict.fromkeys((REFERRALS, *OWNED), 0)
    journey, batch = 0, list[Written]()
    while True:
        subject = b"5f0c2c5e-5c53-5d6e-9d0c-%012x" % journey
        for place, each in enumerate(templates):
            own = [("ce_id", b"01938f3e-%04x-7000-8000-%012x" % (place, journey)), ("ce_subject", subject)]
            offsets[each.topic] += 1
            batch.append(Written(each.topic, [*each.headers, *own], each.value, journey % 12, offsets[each.topic]))
            if len(batch) == size:
                yield batch
                batch = []
        journey += 1


def _templates() -> Sequence[_Template]:
    referral: dict[str, Any] = record_of(REFERRALS, "1", next(iter(plain_referrals(1, 1, "R"))), "1")
    events = [
        _Template(_TOPICS[e.source], to_headers(attributes_of(e)), d.model_dump_json(exclude_none=True).encode())
        for e, d in whole_journey().events
    ]
    return [
        each._replace(headers=[(name, raw) for name, raw in each.headers if name not in ("ce_id", "ce_subject")])
        for each in (_Template(REFERRALS, referral["headers"], referral["value"]), *events)
    ]
