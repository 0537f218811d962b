"""The consumer loop: FastStream brings batches, each is decided and written whole, and only then are its offsets committed.

Invariants: the handler never raises; offsets are explicit and follow the write; a batch is held through trouble of the
infrastructure and bisected when its content fails; no lock is held across a poll.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER

from messaging import trouble, unreadable
from messaging.message import Answer, Received, Trouble
from messaging.metrics import Meters
from messaging.processor import Processor
from messaging.progress import Progress
from messaging.received import read
from messaging.routes import Routes

log = structlog.get_logger()
_COMMIT_EVERY = 0.2


async def _raw_parser(records: Any) -> KafkaMessage:
    return KafkaMessage(
        body=b"", headers={}, batch_headers=[], raw_message=records, correlation_id="-", message_id="-", consumer=FAKE_CONSUMER
    )


async def _raw_decoder(message: Any) -> Any:
    return message.raw_message


@dataclass(frozen=True, slots=True)
class Recording:
    """For a service that writes records down and decides nothing: its topics, and what takes a whole batch of them."""

    topics: Sequence[str]
    take: Callable[[Sequence[ConsumerRecord]], Awaitable[None]]


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of the service's consumer group."""

    def __init__(
        self, broker: KafkaBroker, routes: Routes, group: str, processor: Processor, progress: Progress, meters: Meters,
        max_batch: int, idle_ms: int, recording: Recording | None = None,
    ) -> None:  # fmt: skip
        self._routes, self._processor, self._progress, self._meters = routes, processor, progress, meters
        self._record = recording.take if recording else self._decide
        self._done: dict[TopicPartition, int] = {}
        self._committed_at, self._revoked, self._in_hand = 0.0, False, asyncio.Lock()
        self.assigned: set[TopicPartition] = set()
        self.joined = False
        self._subscriber = broker.subscriber(
            *(recording.topics if recording else routes.topics),
            group_id=group, batch=True, ack_policy=AckPolicy.MANUAL, parser=_raw_parser, decoder=_raw_decoder,
            batch_timeout_ms=idle_ms, max_records=max_batch, auto_offset_reset="earliest", rebalance_timeout_ms=60_000,
            partition_assignment_strategy=(RangePartitionAssignor,), max_poll_interval_ms=1_800_000, listener=self,
            fetch_max_wait_ms=100,
        )  # fmt: skip
        self._subscriber(self.take)

    async def take(self, records: Sequence[ConsumerRecord]) -> None:
        """Every way out: committed, or given up because the partitions were taken from us."""
        async with self._in_hand:
            started = monotonic()
            self._revoked = False
            handled = await trouble.holding(lambda: self._handle(records), lambda: not self._revoked, self._noticed)
            if handled is not None:
                self._done |= {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
                await self._commit(forced=False)
            self._meters.batch.observe(monotonic() - started)

    async def _handle(self, records: Sequence[ConsumerRecord]) -> bool:
        self._meters.batch_size.observe(len(records))
        await self._record(records)
        self._progress.saw(records)
        return True

    async def _decide(self, records: Sequence[ConsumerRecord]) -> None:
        received = [message for message in (read(record, self._routes) for record in records) if message]
        self._meters.passed_over.inc(len(records) - len(received))
        if received:
            await trouble.bisecting(received, self._settle, self._park)

    async def _settle(self, batch: Sequence[Received]) -> None:
        for answer in await self._processor.handle(batch):
            self._count(answer)

    async def _park(self, message: Received, error: Exception) -> None:
        log.error("message_parked", reason=type(error).__name__, topic=message.record and message.record.topic)
        assert message.record is not None
        await self._settle([unreadable.by_place(message.record, Trouble(f"unprocessable-{type(error).__name__}"))])

    def _count(self, answer: Answer) -> None:
        self._meters.handled.labels("duplicate" if answer.duplicate else answer.outcome).inc()
        if answer.reason == "same-id-other-content":
            self._meters.conflicts.inc()

    def _noticed(self, error: BaseException) -> None:
        self._meters.troubles.labels(type(error).__name__).inc()
        log.warning("batch_held", kind=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))

    async def _commit(self, forced: bool) -> None:
        consumer = self._subscriber.consumer
        if consumer is None or not self._done or (not forced and monotonic() - self._committed_at < _COMMIT_EVERY):
            return
        offsets, self._done, self._committed_at = self._done, {}, monotonic()
        try:
            await asyncio.wait_for(consumer.commit(offsets), timeout=10)
        except (CommitFailedError, IllegalStateError, TimeoutError) as error:
            log.warning("offsets_not_committed", kind=type(error).__name__)

    async def turned(self) -> None:
        """Called every second: commits what is left and says up to when everything was read."""
        consumer = self._subscriber.consumer
        if consumer is None or self._in_hand.locked():
            return
        self._meters.turn.set(time())
        await self._commit(forced=True)
        await self._progress.write(consumer, self.assigned)

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Gives up a batch that is held, waits for one in hand, and commits what is done."""
        self._revoked = True
        async with self._in_hand:
            await self._commit(forced=True)
        self.assigned = set()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Starts reading what is ours now."""
        self.assigned, self.joined = set(assigned), True
        log.info("partitions_assigned", count=len(self.assigned))
