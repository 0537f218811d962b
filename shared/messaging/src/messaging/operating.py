"""What a person does to what is set aside: retry, discard, resume; each a decision that claims, is guarded and is said.

Invariants: an action is one write under the lock of its lane's state row, or of our own row where there is no lane; who lost a
race looks again; the same Idempotency-Key is done once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import asyncpg
from pydantic_core import from_json, to_json

from contracts.envelope import Envelope
from messaging import aside, outbox
from messaging.aside import NotPossible, Work
from messaging.draft import WRITE, Draft, digest_of
from messaging.machinery import MACHINERY, class_of
from messaging.message import Answer, Received
from messaging.parking import Policy
from messaging.routes import Kept, Routes
from messaging.snapshot import READ, Claim, Subject
from messaging.trouble import Contended

Action = Literal["retry", "discard", "resume"]
_TRIES = 12


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for; `target` is a row's number, `timer-<id>`, or for resume a topic."""

    action: Action
    target: str
    actor: str
    key: str
    reason: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Operating:
    """Carries out the wishes of operators on one service's database."""

    pool: "asyncpg.Pool[Any]"
    routes: Routes
    source: str
    topic: str
    policy: Policy
    committed: Callable[[], None] = lambda: None

    async def act(self, wish: Wish) -> dict[str, Any]:
        """What was done, the same for the same key; raises NotPossible, or Contended when others were faster too often."""
        for _ in range(_TRIES):
            async with self.pool.acquire() as connection:
                reply = await self._try(connection, wish)
            if reply is not None:
                return reply
        raise Contended

    async def _try(self, connection: Any, wish: Wish) -> dict[str, Any] | None:
        asked = self._asked(wish)
        found = await aside.find(connection, wish.action, wish.target, self.routes)
        place = (found.place if found else None) or (MACHINERY.kind, self.source)
        facts = await connection.fetch(READ, [asked.claim[0]], [asked.claim[1]], [place[0]], [place[1]], [])
        if done := next((row for row in facts if row["what"] == "done"), None):
            return _same_as_before(done, asked)
        # Looked at again after the version was read, so that the write notices whatever changes from here on.
        target = await aside.find(connection, wish.action, wish.target, self.routes)
        if target is None:
            raise NotPossible("not-found", f"nothing is set aside under {wish.target}", 404)
        if (target.place or (MACHINERY.kind, self.source)) != place:
            return None
        work = self._work(asked, wish, facts, place)
        aside.act[wish.action](target, work)
        work.reply |= {"action": wish.action, "target": wish.target, "subject": work.subject.key}
        return work.reply | {"dry_run": True} if wish.dry_run else await self._write(connection, wish, work)

    def _asked(self, wish: Wish) -> Received:
        source = f"{self.source}/operator"
        body = to_json({"target": wish.target, "actor": wish.actor, "reason": wish.reason})
        envelope = Envelope(id=wish.key, source=source, type=f"command:{wish.action}", time=datetime.now(UTC))
        return Received(envelope, (source, wish.key), body)

    def _work(self, asked: Received, wish: Wish, facts: Sequence[Any], place: Claim) -> Work:
        now = datetime.fromisoformat(next(row["a"] for row in facts if row["what"] == "now"))
        row = next((row for row in facts if row["what"] == "state"), None)
        return Work(asked, wish.reason, self._subject(place, row), Draft(self.source, self.topic, now), self.policy)

    def _subject(self, place: Claim, row: Any) -> Subject:
        """The state row without its body, which stays as it is: nobody has to understand it to discard what it failed on."""
        known = self.routes.kept.get(place[0])
        if row is None:
            return Subject(Kept(place[0], object, schema=known.schema if known else 1), place[1])
        kept = Kept(place[0], object, schema=row["schema"])
        return Subject(kept, place[1], row["version"], row["sequence"], blocked=set(from_json(row["blocked"])))

    async def _write(self, connection: Any, wish: Wish, work: Work) -> dict[str, Any] | None:
        draft, subject, about = work.draft, work.subject, work.about
        said = class_of(self.source, "operator-acted")(operator=wish.actor, action=wish.action, reason=wish.reason, **work.said)
        cause = work.asked.envelope.model_copy(
            update={"correlationid": about and (about.correlationid or about.id), "sensitivity": about and about.sensitivity}
        )
        draft.claim(work.asked, work.number, Answer("applied", None, work.reply))
        rows = outbox.rows(self.source, self.topic, subject.key, [said], cause, draft.now, subject.sequence)
        draft.out += [(work.number, *row) for row in rows]
        subject.sequence += len(rows)
        if await connection.fetchval(WRITE, *draft.columns()):
            return None
        self.committed()
        return work.reply


def _same_as_before(done: Any, asked: Received) -> dict[str, Any]:
    if done["digest"] != digest_of(asked):
        raise NotPossible("same-id-other-content", "this Idempotency-Key was used for another action", 422)
    reply: dict[str, Any] = from_json(done["body"])["reply"]
    return reply | {"duplicate": True}
