"""One member of the service's consumer group: FastStream as the shell, explicit offsets, and what happens at a rebalance.

Invariants: no lock is held across a poll; offsets are committed only for what the consumer says is done; whatever fails between
the broker and the consumer, what was not handled is read again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, cast

import asyncpg
import structlog
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER

from messaging.bringing import Bringing
from messaging.calm import calm
from messaging.consumer import Consumer, Take
from messaging.gaps import Heard
from messaging.metrics import Meters
from messaging.partitions import Partitions
from messaging.progress import Progress
from messaging.stops import Stops
from messaging.suspects import Suspects
from messaging.trouble import OF_DATABASE

log = structlog.get_logger()
_LEAVE_WITHIN = 10.0
# Round trips cost more than records: a breath after a batch lets the next one grow. After a large one it is shorter, since what
# waits meanwhile comes in one piece that holds everybody up; from this share of the largest batch on they are large enough.
BREATH, _LONGEST_BREATH, _ENOUGH, _OF_ITS_TIME = 0.02, 0.1, 0.4, 1 / 6
# A batch in which nothing was ours is through at once, and what is ours may be right behind it.
_AT_ONCE, _SHORT_BREATH = 0.001, 0.008
# Offsets that are not committed when a process dies are read again, which costs little; each commit costs every subject heard.
_COMMIT_EVERY, _PROGRESS_EVERY, _BROKER_SILENT, _LOOK_WITHIN = 2.0, 1.0, 15.0, 10.0


async def _raw_parser(records: Any) -> KafkaMessage:
    return KafkaMessage(
        body=b"", headers={}, batch_headers=[], raw_message=records, correlation_id="-", message_id="-", consumer=FAKE_CONSUMER
    )


async def _raw_decoder(message: Any) -> Any:
    return message.raw_message


@dataclass(frozen=True, slots=True)
class Recording:
    """What takes whole batches of its topics, which `ahead` has read; `breath` is the least pause in seconds after a small
    one, unless nothing in it was of any concern.

    A service that only writes records down gives its own, with a long breath, since nobody waits for it.
    """

    topics: Sequence[str]
    take: Take
    breath: float = BREATH
    ahead: Take | None = None


def breath_after(count: int, took: float, breath: float, largest: int) -> float:
    """Seconds of pause after a batch of so many records, of at most `largest`, that took so many seconds."""
    if took < _AT_ONCE:
        return _SHORT_BREATH
    wanting = 1 - (count / (_ENOUGH * largest)) ** 2
    return min(max(breath * wanting, took * _OF_ITS_TIME), _LONGEST_BREATH)


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Brings batches to the consumer and commits what it has done."""

    def __init__(
        self, broker: KafkaBroker, group: str, topics: Sequence[str], take: Take, park: Take, pool: "asyncpg.Pool[Any]",
        meters: Meters, max_batch: int, idle_ms: int, stops: Stops | None = None, breath: float = BREATH,
        ahead: Take | None = None,
    ) -> None:  # fmt: skip
        self._breath, self._topics, self._max_batch = breath, topics, max_batch
        self._suspects = Suspects(pool, take, park, ahead)
        self._heard, self._partitions = Heard(pool), Partitions(topics)
        self._consumer, self._stops = Consumer(take, meters, self._heard.noted), stops or Stops(pool, meters)
        self._pool, self._meters = pool, meters
        self.assigned: set[TopicPartition] = set()
        self.joined = False
        self._commit_at, self._progress_at, self._taking = 0.0, 0.0, cast("asyncio.Task[None] | None", None)
        self._looked, self._left, self._looking = asyncio.Event(), asyncio.Event(), asyncio.Lock()
        self._progress = Progress(pool)
        self._committed: dict[TopicPartition, int] = {}
        self._subscriber = broker.subscriber(
            *topics, group_id=group, batch=True, ack_policy=AckPolicy.MANUAL, parser=_raw_parser, decoder=_raw_decoder,
            batch_timeout_ms=idle_ms, max_records=max_batch, auto_offset_reset="earliest", rebalance_timeout_ms=60_000,
            partition_assignment_strategy=(RangePartitionAssignor,), max_poll_interval_ms=1_800_000, listener=self,
            fetch_max_wait_ms=500, isolation_level="read_committed",
        )  # fmt: skip
        self._bringing = Bringing(self._subscriber, self._stops, self._again, self._progress.brought, max_batch)
        self._subscriber(self._take)

    async def _again(self, error: Exception) -> None:
        """Everything that is not handled is brought again; what was done all the same is known by its claim."""
        self._meters.troubles.labels(type(error).__name__).inc()
        log.warning("read_again", kind=type(error).__name__)
        with self._progress.in_doubt():
            await self._looked.wait()
            reading = self._subscriber.consumer
            async with self._consumer.in_hand:
                for place, offset in self._consumer.handled.items():
                    if reading and place in reading.assignment():
                        reading.seek(place, offset)
        self._read_on()

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
        try:
            await self._hand_over(records)
        except Exception as error:
            await self._again(error)

    async def _hand_over(self, records: Sequence[ConsumerRecord]) -> None:
        # Under which assignment they came, before anything is waited for: under the next one they would be out of turn.
        given_up, more = self._consumer.given_up, len(records) >= self._max_batch
        if not more:
            self._rest()
        await self._looked.wait()
        if self._partitions.wrong:
            await self._left.wait()
        records = await self._stops.passing(records, self._subscriber.consumer, given_up)
        # Of partitions that went, others are asked now.
        await self._suspects.meet([] if given_up.is_set() else records)
        self._meters.batch_size.observe(len(records))
        self._consumer.handle, self._consumer.ahead = self._suspects.way
        began = monotonic()
        before, self._taking = self._taking, asyncio.create_task(self._consumer.take(records, given_up))
        if not more:
            await self._taking
            await asyncio.sleep(breath_after(len(records), monotonic() - began, self._breath, self._max_batch))
            self._read_on()
        elif before:
            await before

    # A fetch that is asked for while a batch is in hand comes back with the first record there is, and what comes after that
    # one waits for yet another batch.
    def _rest(self) -> None:
        reading = self._subscriber.consumer
        if reading:
            reading.pause(*reading.assignment())

    def _read_on(self) -> None:
        reading = self._subscriber.consumer
        if reading:
            reading.resume(*self._stops.free(reading.assignment()))

    def missing(self) -> str | None:
        """What keeps this member from reading: no assignment yet, or a broker that has not answered lately."""
        if self._partitions.wrong or not self.joined:
            return self._partitions.wrong or "no partitions assigned yet"
        if self.assigned and not self._looked.is_set():
            return "where its partitions begin is not known yet"
        if self._stops.topics or self._stops.unreadable:
            return self._stops.sentence()
        reading = self._subscriber.consumer
        answers = [reading.last_poll_timestamp(tp) or 0 for tp in self.assigned] if reading else []
        if self.assigned and time() - max(answers, default=0) / 1000 > _BROKER_SILENT:
            return "the broker has not answered lately"
        return None

    @property
    def stopped(self) -> bool:
        """Whether what keeps this member from reading waits for a person."""
        return bool(said := self._stops.sentence()) and self.missing() == said

    async def turned(self) -> None:
        """Called several times a second: commits what is handled and says up to when everything was read."""
        reading = self._subscriber.consumer
        if reading is None:
            return
        self._meters.turn.set(time())
        self._partitions.look(reading)
        if self.assigned and not self._looked.is_set() and not self._looking.locked():
            await self._look_up_starts()
        if monotonic() - self._commit_at > _COMMIT_EVERY and await self._commit():
            self._commit_at = monotonic()
        if monotonic() - self._progress_at > _PROGRESS_EVERY:
            self._progress_at = monotonic()
            await self._progress.write(reading, self.assigned, self._consumer)
        self._bringing.try_again()
        await self._stops.look(reading)

    async def _commit(self) -> bool:
        reading, handled = self._subscriber.consumer, self._consumer.handled
        news = {tp: offset for tp, offset in handled.items() if tp in self.assigned and self._committed.get(tp) != offset}
        if reading is None or not news:
            return False
        try:
            await asyncio.wait_for(self._heard.flush(reading), timeout=10)
            await asyncio.wait_for(reading.commit(news), timeout=10)
            self._committed |= news
            await self._suspects.committed(news)
            return True
        except (KafkaError, *OF_DATABASE) as error:
            log.warning("offsets_not_committed", kind=type(error).__name__)
            return False

    async def leave(self) -> None:
        """Nothing new is begun and a batch that is held is given up; one in hand is finished, and its offsets are committed."""
        self._left.set()
        self._consumer.given_up.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_WITHIN), self._consumer.in_hand:
                await self._commit()

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Gives up a batch that is held, waits for one in hand, and commits what is done."""
        self._consumer.given_up.set()
        try:
            async with self._consumer.in_hand:
                await self._commit()
                await self._suspects.part()
        finally:
            if not self._left.is_set():
                self._consumer.given_up = asyncio.Event()
            self.assigned, self._committed, self._consumer.handled = set(), {}, {}
            self._progress.forget()
            self._stops.forget()
            self._looked.clear()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Starts reading what is ours now; records that arrive before this is through wait."""
        reading: Any = self._subscriber.consumer
        self.assigned, self.joined = set(assigned), True
        self._partitions.look(reading)
        calm(reading._client)
        await self._look_up_starts()

    async def _look_up_starts(self) -> None:
        """Where each partition goes on for us; what fails is tried again, and what comes waits until it is known."""
        async with self._looking:
            places, assigned = list(self.assigned), self.assigned
            if self._looked.is_set():
                return
            try:
                async with asyncio.timeout(_LOOK_WITHIN):
                    await self._progress.begin(self._subscriber.consumer, self._topics)
                    starts = dict(zip(places, await asyncio.gather(*map(self._start, places)), strict=True))
            except (KafkaError, *OF_DATABASE) as error:
                log.warning("starts_unknown", kind=type(error).__name__)
                return
            if self.assigned is assigned:
                self._consumer.handled, self._committed = dict(starts), dict(starts)
                self._looked.set()
                log.info("partitions_assigned", count=len(assigned))

    async def _start(self, tp: TopicPartition) -> int:
        reading = self._subscriber.consumer
        committed = await reading.committed(tp) if reading else None
        if committed is not None or reading is None:
            return committed or 0
        return int((await reading.beginning_offsets([tp]))[tp])
