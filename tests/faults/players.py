"""Clients, therapists and desks who answer what they hear, over Kafka or HTTP, and now and then say it twice."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from tests.faults.history import History
from tests.faults.outside import Outside

from cli.demo.simulator import Reply, Simulator
from contracts import clinical, followup
from contracts.event import Event
from contracts.operations import OutboxPosition
from contracts.topics import INBOUND, OWNED, PARTITIONS, parked_topic
from messaging.calm import calm

TOPICS = (*INBOUND, *OWNED, *(parked_topic(source.rpartition("/")[2]) for source in OWNED.values()))
_DESK = "matching-desk"
# What goes on being said when everybody stands somewhere.
_NEVER_ENDING = (OutboxPosition, followup.ReminderDue)


@dataclass(slots=True)
class People(Simulator):
    """Some never come to their first session; matching's own desk answers too."""

    absent: set[str] = field(default_factory=set)

    def attend(self, episode: str, plan: Mapping[str, Any]) -> list[Event]:
        """Nothing, when the client does not come."""
        return [] if episode in self.absent else Simulator.attend(self, episode, plan)

    def answer_handoff(self, episode: str, handoff: Mapping[str, Any]) -> list[Event]:
        """Whoever is asked accepts, but for the silent."""
        if handoff["receiver"] != "matching-desk":
            return Simulator.answer_handoff(self, episode, handoff)
        return [
            clinical.HandoffAnswered(
                handoff_id=handoff["handoff_id"], arbiter="matching", answer="accepted", by="matching-desk"
            )
        ]


class Players:
    """Reads every topic as it grows into a history, and answers each event once, at its first occurrence."""

    def __init__(self, bootstrap: str, outside: Outside, people: Simulator) -> None:
        self._bootstrap, self._outside, self._people = bootstrap, outside, people
        self._next: dict[TopicPartition, int] = {TopicPartition(t, n): 0 for t in TOPICS for n in range(PARTITIONS)}
        self._posting: set[asyncio.Task[None]] = set()
        self.history = History()
        self.quiet_since = asyncio.get_running_loop().time()

    async def play(self) -> None:
        """For ever; a consumer that fails is replaced where it stood."""
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap, auto_offset_reset="none", enable_auto_commit=False, fetch_max_wait_ms=100
            )
            try:
                await consumer.start()
                calm(consumer._client)
                consumer.assign(list(self._next))
                for tp, offset in self._next.items():
                    consumer.seek(tp, offset)
                await self._listen(consumer)
            except KafkaError:
                await asyncio.sleep(1.0)
            finally:
                await consumer.stop()

    async def _listen(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    await self._hear(record)
                    self._next[tp] = record.offset + 1

    async def _hear(self, record: Any) -> None:
        before = len(self.history.said)
        self.history.add(record)
        if len(self.history.said) == before or record.topic not in OWNED:
            return
        if not isinstance(self.history.said[-1].event, _NEVER_ENDING):
            self.quiet_since = asyncio.get_running_loop().time()
        for reply in self._people.react(record.headers, record.value):
            await self._say(reply)

    async def _say(self, reply: Reply) -> None:
        lot = crc32(reply.id.encode()) % 20
        if lot < 3 and (path := _path(reply)) is not None:
            task = asyncio.create_task(self._post(*path, reply.id))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
            return
        record = reply.record()
        await self._outside.send(record)
        if lot == 19:
            await self._outside.send(record)

    async def _post(self, service: str, path: str, body: Any, key: str) -> None:
        await self._outside.post(service, path, body, key)


def _path(reply: Reply) -> tuple[str, str, Any] | None:
    """The HTTP door for what is said, where there is one that needs no order with others."""
    match reply.data:
        case clinical.ChoiceMade():
            return "matching", f"/v1/episodes/{reply.subject}/choice", reply.data.model_dump(mode="json")
        case clinical.OfferAnswered(offer_id=offer, answer=answer, reason=reason):
            body = {"episode": reply.subject, "answer": answer, "reason": reason}
            return "matching", f"/v1/offers/{offer}/answer", body
        case _:
            return None
