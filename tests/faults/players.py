"""Clients, therapists and desks who answer what they hear, over Kafka or HTTP, and now and then say it twice."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
_DESK, _ONE_IN = "matching-desk", 6
# So many seconds a therapist thinks an offer over; its deadline is later.
_SLOW = 2.0
# What goes on being said when everybody stands somewhere.
_NEVER_ENDING = (OutboxPosition, followup.ReminderDue)


@dataclass(slots=True)
class People(Simulator):
    """Some never come to their first session, some speak before anybody knows of them; matching's own desk answers too."""

    absent: set[str] = field(default_factory=set)

    def attend(self, episode: str, plan: Mapping[str, Any]) -> list[Event]:
        """Nothing, when the client does not come."""
        return [] if episode in self.absent else Simulator.attend(self, episode, plan)

    def answer_offer(self, episode: str, offer: Mapping[str, Any]) -> list[Event]:
        """A hasty client has come, and has rated it, before followup hears of a plan; what is said later waits behind it."""
        said = Simulator.answer_offer(self, episode, offer)
        if not self._is_hasty(episode) or self.offers_seen[episode] > 1:
            return said
        came = [clinical.SessionRecorded(session_id=f"hasty-{n}", held_at=datetime.now(UTC)) for n in (1, 2)]
        rated = clinical.AllianceChecked(session_id="hasty-1", goals=7, tasks=7, bond=7, trust=7)
        return [*said, came[0], rated, came[1]]

    def answer_handoff(self, episode: str, handoff: Mapping[str, Any]) -> list[Event]:
        """Whoever is asked accepts, but for the silent; a hasty client chooses before there is a shortlist."""
        if handoff["receiver"] == "matching" and self._is_hasty(episode):
            return [clinical.ChoiceMade(therapist_id="any")]
        if handoff["receiver"] != _DESK:
            return Simulator.answer_handoff(self, episode, handoff)
        return [clinical.HandoffAnswered(handoff_id=handoff["handoff_id"], arbiter="matching", answer="accepted", by=_DESK)]

    def _is_hasty(self, episode: str) -> bool:
        return episode not in self.absent and crc32(episode.encode()) % _ONE_IN == 0


class Players:
    """Reads every topic as it grows into a history, and answers each event once, at its first occurrence."""

    def __init__(self, bootstrap: str, outside: Outside, people: Simulator) -> None:
        self._bootstrap, self._outside, self._people = bootstrap, outside, people
        self._next: dict[TopicPartition, int] = {TopicPartition(t, n): 0 for t in TOPICS for n in range(PARTITIONS)}
        self._busy: set[asyncio.Task[None]] = set()
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
        replies = self._people.react(record.headers, record.value)
        if any(isinstance(reply.data, clinical.OfferAnswered) and _is_slow(reply.subject) for reply in replies):
            self._begin(self._say_later(replies))
            return
        for reply in replies:
            await self._say(reply)

    async def _say_later(self, replies: Sequence[Reply]) -> None:
        await asyncio.sleep(_SLOW)
        for reply in replies:
            await self._say(reply)

    async def _say(self, reply: Reply) -> None:
        lot = crc32(reply.id.encode()) % 20
        if lot < 3 and (path := _path(reply)) is not None:
            self._begin(self._post(*path, reply.id))
            return
        record = reply.record()
        await self._outside.send(record)
        if lot == 19:
            await self._outside.send(record)

    def _begin(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(act)
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _post(self, service: str, path: str, body: Any, key: str) -> None:
        await self._outside.post(service, path, body, key)


def _is_slow(episode: str) -> bool:
    """Whether the therapist who is asked thinks it over."""
    return crc32(f"slow {episode}".encode()) % 3 == 0


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
