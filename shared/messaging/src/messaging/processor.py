"""Decides and writes a batch: one read, pure handlers in order, one write; only who lost a race is decided again."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from messaging import alone, parking
from messaging.decision import Decision, DueTimer, Facts, Refused
from messaging.draft import WRITE, Draft, digest_of
from messaging.message import Answer, Placed, Received, Trouble, by_subject
from messaging.outbox import Row, Stretch, TooLarge
from messaging.routes import Routes
from messaging.snapshot import Load, Snapshot, Subject
from messaging.timers import is_stale
from messaging.trouble import Contended

_ALONE_AFTER, _GIVE_UP_AFTER = 3, 12


class Processor:
    """The one way in for everything a service does; batches take turns, so decisions of one process never race each other."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", routes: Routes, source: str, topic: str, load: Load, policy: parking.Policy,
        committed: Callable[[Sequence[Row], Iterable[Stretch]], None], kept: Callable[[Any], None] | None = None,
    ) -> None:  # fmt: skip
        self._pool, self._routes, self._source, self._topic = pool, routes, source, topic
        self._load, self._policy, self._committed = load, policy, committed
        self._turn, self._kept = asyncio.Lock(), kept

    async def handle(self, batch: Sequence[Received]) -> list[Answer]:
        """The answers in the order of the messages, each committed; raises what the database or the network raises."""
        answers: dict[int, Answer] = {}
        async with self._turn:
            left: Placed = list(enumerate(batch))
            for attempt in range(_GIVE_UP_AFTER):
                for part in [left] if attempt < _ALONE_AFTER else by_subject(left):
                    answers |= await self._settle(part, attempt >= _ALONE_AFTER)
                left = [(place, message) for place, message in left if place not in answers]
                if not left:
                    return [answers[place] for place in range(len(batch))]
        raise Contended

    async def _settle(self, part: Placed, under_lock: bool) -> Mapping[int, Answer]:
        async with alone.locked(self._pool, part) if under_lock else self._pool.acquire() as connection:
            snapshot = await Snapshot.read(connection, [message for _, message in part], self._routes, self._load)
            if snapshot.done:
                await parking.look_up_places(connection, snapshot, part)
            draft = Draft(self._source, self._topic, snapshot.now)
            judged = {place: self._judge(message, snapshot, draft) for place, message in part}
            lost, *told = (draft.claims and await connection.fetchrow(WRITE, *draft.columns())) or ([],)
        if draft.out:
            self._committed([row[1:] for row in draft.out if row[0] not in lost], zip(*told, strict=True))
        if self._kept and not lost:
            self._kept(snapshot.context)
        return {place: answer for place, (number, answer) in judged.items() if number not in lost}

    def _judge(self, message: Received, snapshot: Snapshot, draft: Draft) -> tuple[int, Answer]:
        if isinstance(message.data, DueTimer) and is_stale(message, snapshot, draft):
            return 0, Answer("applied", "stale", duplicate=True)
        done = snapshot.done.get(message.claim)
        if done and (message.lane_row is None or done[0].outcome not in parking.SET_ASIDE):
            return parking.done_before(draft, message, *done, snapshot, self._policy)
        number, answer = self._decide(message, snapshot.subject_of(message), snapshot, draft)
        if number:
            snapshot.done[message.claim] = answer, digest_of(message), number
        return number, answer

    def _decide(self, message: Received, subject: Subject | None, snapshot: Snapshot, draft: Draft) -> tuple[int, Answer]:
        if subject is None or (message.claim[0] in subject.blocked and message.lane_row is None):
            return parking.set_aside(draft, message, subject, self._policy)
        decided = self._ask(message, subject, snapshot)
        if not isinstance(decided, (Decision, Refused)):
            return parking.set_aside(draft, message, subject, self._policy, decided)
        try:
            answer = draft.apply(message, subject, decided)
        except TooLarge as error:
            return parking.set_aside(draft, message, subject, self._policy, error)
        if isinstance(decided, Decision) and decided.effects:
            snapshot.context = snapshot.context.after(decided.effects)
        if message.lane_row is not None:
            parking.release(draft, message, subject)
        return subject.number, answer

    def _ask(self, message: Received, subject: Subject, snapshot: Snapshot) -> Any:
        assert message.route is not None
        if subject.broken:
            return parking.Unprocessable(Trouble(f"unprocessable-{type(subject.broken).__name__}"))
        facts = Facts(subject.key, snapshot.now, message.envelope, snapshot.context)
        try:
            return message.route.handler(message.data, subject.state, facts)
        except Exception as error:
            return error
