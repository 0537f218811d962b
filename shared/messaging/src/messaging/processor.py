"""Decides and writes a batch: one read, pure handlers in order, one write; only who lost a race is decided again."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from messaging import parking
from messaging.decision import Decision, DueTimer, Early, Facts, Refused
from messaging.draft import WRITE, Draft, Subject
from messaging.message import Answer, Received
from messaging.outbox import TooLarge
from messaging.routes import Routes

READ = "SELECT * FROM messaging.read($1, $2, $3, $4, $5)"
_ALONE_AFTER, _GIVE_UP_AFTER = 3, 12


class Context(Protocol):
    """What a service's store loads for a batch; later decisions of the batch see the effects of earlier ones."""

    def after(self, effects: Sequence[Any]) -> "Context":
        """The context with these effects carried out."""


class NewerState(RuntimeError):
    """A row was written by newer code than this: this process holds still until it is upgraded."""


class Contended(RuntimeError):
    """A subject lost too many races in a row: the batch is tried again later."""


@dataclass(slots=True)
class Loaded:
    """What the one read brought."""

    now: datetime
    done: dict[tuple[str, str], Answer]
    digests: dict[tuple[str, str], bytes]
    subjects: dict[tuple[str, str], Subject]
    timers: set[str]
    context: Any = None

    def remember(self, message: Received, answer: Answer) -> None:
        """A message of this batch counts as done for those after it."""
        self.done[message.claim], self.digests[message.claim] = answer, message.digest

    def subject_of(self, message: Received) -> Subject | None:
        """The evolving state a message is decided on; a new one when nothing is known of it."""
        if message.kept is None or message.subject is None or message.trouble:
            return None
        key = (message.kept.kind, message.subject)
        return self.subjects.setdefault(key, Subject(message.kept, message.subject))


class Processor:
    """The one way in for everything a service does; batches take turns, so decisions of one process never race each other."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", routes: Routes, source: str, topic: str,
        load: Callable[[Any, Sequence[Received]], Any], policy: parking.Policy, committed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._pool, self._routes, self._source, self._topic = pool, routes, source, topic
        self._load, self._policy, self._committed = load, policy, committed
        self._turn = asyncio.Lock()

    async def handle(self, batch: Sequence[Received]) -> list[Answer]:
        """The answers in the order of the messages, each committed; raises what the database or the network raises."""
        answers: dict[int, Answer] = {}
        async with self._turn:
            left = list(enumerate(batch))
            for attempt in range(_GIVE_UP_AFTER):
                for part in [left] if attempt < _ALONE_AFTER else _by_subject(left):
                    answers |= await self._settle(part)
                left = [(place, message) for place, message in left if place not in answers]
                if not left:
                    return [answers[place] for place in range(len(batch))]
        raise Contended

    async def _settle(self, part: Sequence[tuple[int, Received]]) -> Mapping[int, Answer]:
        async with self._pool.acquire() as connection:
            loaded = await self._read(connection, [message for _, message in part])
            draft = Draft(self._source, self._topic, loaded.now)
            decided = {place: self._decide(message, loaded, draft) for place, message in part}
            lost = set(await connection.fetchval(WRITE, *draft.columns())) if draft.claims or draft.parking else set()
        if draft.out:
            self._committed()
        return {place: answer for place, (number, answer) in decided.items() if number not in lost or not number}

    async def _read(self, connection: Any, messages: Sequence[Received]) -> Loaded:
        claims, keys = {m.claim for m in messages}, {(m.kept.kind, m.subject) for m in messages if m.kept and not m.trouble}
        timers = [m.envelope.id for m in messages if isinstance(m.data, DueTimer)]
        found = await connection.fetch(
            READ, [c[0] for c in claims], [c[1] for c in claims], [k[0] for k in keys], [k[1] for k in keys], timers
        )
        loaded = Loaded(datetime.fromisoformat(found[0]["a"]), {}, {}, {}, set(), await self._load(connection, messages))
        for row in found[1:]:
            self._keep(row, loaded)
        return loaded

    def _keep(self, row: Any, loaded: Loaded) -> None:
        if row["what"] == "done":
            claim = (row["a"], row["b"])
            loaded.done[claim] = parking.answer_before(row["blocked"], row["body"])
            loaded.digests[claim] = row["digest"]
        elif row["what"] == "timer":
            loaded.timers.add(row["a"])
        else:
            kept = self._routes.kept[row["a"]]
            if row["schema"] > kept.schema:
                raise NewerState(kept.kind)
            state = None if row["body"] is None else kept.adapter.validate_json(row["body"])
            loaded.subjects[row["a"], row["b"]] = Subject(
                kept, row["b"], row["version"], row["sequence"], state, parking.lanes(row["blocked"])
            )

    def _decide(self, message: Received, loaded: Loaded, draft: Draft) -> tuple[int, Answer]:
        if (before := self._before(message, loaded, draft)) is not None:
            return before
        subject = loaded.subject_of(message)
        if subject is None or (message.claim[0] in subject.blocked and message.lane_row is None):
            return self._aside(message, subject, loaded, draft)
        outcome = self._outcome(message, subject, loaded)
        try:
            if isinstance(outcome, Decision):
                draft.apply(message, subject, outcome)
                loaded.context = loaded.context.after(outcome.effects) if outcome.effects else loaded.context
                answer = Answer("applied", None, outcome.reply)
            elif isinstance(outcome, Refused):
                draft.refuse(message, subject, outcome)
                answer = Answer("refused", outcome.reason, outcome.reply)
            else:
                return self._aside(message, subject, loaded, draft, outcome)
        except TooLarge as error:
            return self._aside(message, subject, loaded, draft, error)
        parking.release(draft, message, subject)
        loaded.remember(message, answer)
        return subject.number, answer

    def _aside(
        self, message: Received, subject: Subject | None, loaded: Loaded, draft: Draft, why: Any = None
    ) -> tuple[int, Answer]:
        number, answer = parking.set_aside(draft, message, subject, self._policy, why)
        if number:
            loaded.remember(message, answer)
        return number, answer

    def _before(self, message: Received, loaded: Loaded, draft: Draft) -> tuple[int, Answer] | None:
        if isinstance(message.data, DueTimer):
            stale = message.envelope.id not in loaded.timers
            return (0, Answer("applied", "stale", duplicate=True)) if stale else None
        done = loaded.done.get(message.claim)
        if done is None or message.lane_row is not None:
            return None
        if loaded.digests[message.claim] == message.digest:
            return 0, Answer(done.outcome, done.reason, done.reply, duplicate=True)
        return parking.conflict(draft, message, loaded.done, self._policy)

    def _outcome(self, message: Received, subject: Subject, loaded: Loaded) -> Any:
        assert message.route is not None
        facts = Facts(subject.key, loaded.now, message.envelope, loaded.context)
        try:
            return message.route.handler(message.data, subject.state, facts)
        except Exception as error:
            return error


def _by_subject(left: Sequence[tuple[int, Received]]) -> list[list[tuple[int, Received]]]:
    groups: dict[Any, list[tuple[int, Received]]] = {}
    for place, message in left:
        groups.setdefault(message.subject or message.claim, []).append((place, message))
    return list(groups.values())


__all__ = ["Contended", "Context", "Early", "NewerState", "Processor"]
