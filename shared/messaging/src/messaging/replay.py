"""Reads topics again beside the live group, which keeps its offsets: what the inbox lacks is applied, the rest is skipped."""

import argparse
import asyncio
import heapq
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from uuid_utils import uuid7

from contracts.topics import PARTITIONS
from messaging import logs, machinery
from messaging.consumer import Consumer
from messaging.gaps import Heard
from messaging.parking import place_of
from messaging.service import Service

# Records that were parked unread, or that nobody can read, are known by their place.
PLACES = "SELECT source, id FROM unnest($1::text[], $2::text[]) AS asked (source, id) JOIN messaging.inbox USING (source, id)"
FORGOTTEN = "SELECT before FROM messaging.pruned WHERE what = 'inbox'"
HEARD_WHOLE = """
    UPDATE messaging.hearing SET whole = true
     WHERE NOT whole AND (topic, part) IN (SELECT * FROM unnest($1::text[], $2::int[]))"""
_TELL_EVERY = 2.0

Say = Callable[[str], None]
Ends = Mapping[TopicPartition, int]


@dataclass(slots=True)
class Tally:
    """What became of the records that were read again."""

    read: int = 0
    too_old: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def applied(self) -> int:
        """What was done only now, however it ended."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in ("duplicate", "passed over"))

    def __str__(self) -> str:
        words = {"duplicate": "skipped", "recorded": "applied"}
        told = {"applied": 0, "skipped": 0} | {
            words.get(outcome, outcome): count for outcome, count in self.outcomes.items() if count
        }
        old = f" · {self.too_old} older than what is remembered, left out" if self.too_old else ""
        return " · ".join(f"{count:,} {word}" for word, count in told.items()) + old


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be read again: all topics that the service reads or one of them, from the beginning or from an instant."""

    actor: str
    topic: str | None = None
    since: datetime | None = None


@asynccontextmanager
async def reading(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that belongs to no group, so that it can commit nothing."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest",
        isolation_level="read_committed",
    )  # fmt: skip
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_between(consumer: AIOKafkaConsumer, starts: Ends, ends: Ends, most: int) -> AsyncIterator[list[ConsumerRecord]]:
    """Batches from start to end: each partition in its order, and among them by their time as far as they are there."""
    left = {tp: end for tp, end in ends.items() if starts[tp] < end}
    consumer.assign(list(left))
    for tp in left:
        consumer.seek(tp, starts[tp])
    while left:
        found = await consumer.getmany(*left, timeout_ms=500, max_records=most)
        inside = [[r for r in records if r.offset < ends[tp]] for tp, records in found.items()]
        merged = heapq.merge(*inside, key=lambda record: record.timestamp)
        for batch in _portions(merged, most):
            yield batch
        left = {tp: end for tp, end in left.items() if await consumer.position(tp) < end}


def _portions(records: Iterator[ConsumerRecord], most: int) -> Iterator[list[ConsumerRecord]]:
    while batch := list(islice(records, most)):
        yield batch


class Fill:
    """Takes records again through the service's own door, in a process of their own.

    Invariants: nothing is read that the live group has not passed, so it is never overtaken; nothing is read that the inbox may
    have forgotten, so nothing is done twice; offsets of the live group are only looked at.
    """

    def __init__(self, service: Service, wish: Wish, say: Say) -> None:
        self._service, self._wish, self._say = service, wish, say
        self._heard = Heard(service.pool)
        self._consumer = Consumer(self._take, service.meters, self._heard.noted)
        self.tally = Tally()

    def stop(self) -> None:
        """Finishes what is in hand and says what was done so far."""
        self._consumer.given_up.set()

    async def run(self) -> Tally:
        """Reads everything that is asked for, and says on the record that it was done."""
        horizon = await self._horizon()
        async with reading(self._service.settings.kafka_bootstrap) as consumer:
            starts, ends = await self._bounds(consumer, horizon)
            total, told = sum(max(0, ends[tp] - starts[tp]) for tp in ends), monotonic()
            self._say(f"{self._service.name}: {total:,} records are read again")
            async for batch in read_between(consumer, starts, ends, self._service.settings.max_batch):
                await self._again(batch, horizon)
                await self._heard.flush(consumer)
                if self._consumer.given_up.is_set():
                    break
                if monotonic() - told > _TELL_EVERY:
                    self._say(f"  {self.tally.read:,} of {total:,}: {self.tally}")
                    told = monotonic()
            else:
                await self._heard_whole(consumer, starts)
        await self._said()
        return self.tally

    async def _again(self, batch: Sequence[ConsumerRecord], horizon: datetime | None) -> None:
        oldest = horizon.timestamp() * 1000 if horizon else 0
        known = [record for record in batch if record.timestamp >= oldest]
        self.tally.too_old += len(batch) - len(known)
        self.tally.read += len(batch)
        before = self._counted()
        await self._consumer.take(known)
        self.tally.outcomes += self._counted() - before

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
        places = [place_of(record) for record in records]
        asked = [source for source, _ in places], [id_ for _, id_ in places]
        aside = {tuple(row) for row in await self._service.pool.fetch(PLACES, *asked)}
        left = [record for record, place in zip(records, places, strict=True) if place not in aside]
        if left:
            await self._service.recording.take(left)
        self._service.meters.handled.labels("duplicate").inc(len(records) - len(left))

    def _counted(self) -> Counter[str]:
        meters = self._service.meters
        samples = [sample for metric in meters.handled.collect() for sample in metric.samples if sample.name == "handled_total"]
        counted = Counter({sample.labels["outcome"]: int(sample.value) for sample in samples})
        counted["passed over"] = int(meters.registry.get_sample_value("passed_over_total") or 0)
        return counted

    async def _horizon(self) -> datetime | None:
        """What is older may have been forgotten by the inbox; a service that only records has no inbox to forget."""
        forgotten: datetime | None = None
        if not self._service.records:
            forgotten = await self._service.pool.fetchval(FORGOTTEN)
        return max(filter(None, (forgotten, self._wish.since)), default=None)

    async def _bounds(self, consumer: AIOKafkaConsumer, horizon: datetime | None) -> tuple[Ends, Ends]:
        topics = [topic for topic in self._service.recording.topics if self._wish.topic in (None, topic)]
        if not topics:
            raise SystemExit(f"{self._service.name} does not read {self._wish.topic}")
        places = [TopicPartition(topic, part) for topic in topics for part in range(PARTITIONS)]
        starts = dict(await consumer.beginning_offsets(places))
        live = await self._passed_by_the_live_group()
        ends = {tp: min(end, live.get(tp, 0)) for tp, end in (await consumer.end_offsets(places)).items()}
        if horizon:
            found = await consumer.offsets_for_times(dict.fromkeys(places, int(horizon.timestamp() * 1000)))
            starts |= {tp: max(starts[tp], at.offset if at else ends[tp]) for tp, at in found.items()}
        return starts, ends

    async def _passed_by_the_live_group(self) -> Ends:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._service.settings.kafka_bootstrap)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(f"rapport-{self._service.name}")
        finally:
            await admin.close()
        return {tp: meta.offset for tp, meta in found.items()}

    async def _heard_whole(self, consumer: AIOKafkaConsumer, starts: Ends) -> None:
        """What was read from its very beginning is heard whole from now on."""
        whole = [tp for tp, start in starts.items() if start == 0]
        await self._service.pool.execute(HEARD_WHOLE, [tp.topic for tp in whole], [tp.partition for tp in whole])

    async def _said(self) -> None:
        service, wish = self._service, self._wish
        acted = machinery.class_of(service.source, "operator-acted")(
            operator=wish.actor, action="replay", reason="fill", topic=wish.topic, count=self.tally.applied
        )
        message = machinery.saying(service.routes, service.source, service.source, str(uuid7()), [acted])
        await service.processor.handle([message])


def main(name: str, settings: Any, arguments: Sequence[str]) -> int:
    """`python -m <service> replay`; a service may offer more ways in its module `replay`."""
    parser = argparse.ArgumentParser(prog=f"python -m {name} replay", description=__doc__)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--fill", action="store_true", help="apply what the inbox lacks")
    how.add_argument("--rebuild", action="store_true", help="build anew beside the old, and compare (oversight only)")
    parser.add_argument("--topic", help="only this one")
    parser.add_argument("--from", dest="since", type=_instant, help="only from this instant on, such as 2026-11-23T09:00:00Z")
    parser.add_argument("--actor", default="operator", help="who does it")
    asked = parser.parse_args(arguments)
    if asked.rebuild:
        if name != "oversight":
            parser.error("only oversight has something to build anew")
        code: int = import_module(f"{name}.rebuilding").main(settings, asked.actor, _print)
        return code
    return asyncio.run(_fill(import_module(f"{name}.app").build(settings), Wish(asked.actor, asked.topic, asked.since)))


async def _fill(service: Service, wish: Wish) -> int:
    logs.configure(service.name, "critical" if service.records else service.settings.log_level)
    await service.open()
    fill = Fill(service, wish, _print)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, fill.stop)
    tally = await fill.run()
    await service.pool.close()
    _print(f"{service.name}: {tally}")
    return 0


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _print(line: str) -> None:
    print(line, flush=True)
