"""What the one read of a batch brings: what was done before, the states as they will evolve, the one now, the context."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from messaging.decision import Context, DueTimer
from messaging.message import Answer, Received
from messaging.routes import Kept, Routes
from messaging.trouble import NewerState

READ = "SELECT * FROM messaging.read($1, $2, $3, $4, $5)"
Claim = tuple[str, str]
Load = Context | Callable[[Any, Sequence[Received]], Awaitable[Context]]


@dataclass(slots=True)
class Subject:
    """One subject in this batch: its state as read (or why it is `broken`), then as decided; `number` is its place in it."""

    kept: Kept
    key: str
    version: int = 0
    sequence: int = 0
    state: Any = None
    blocked: set[str] = field(default_factory=set)
    number: int = 0
    changed: bool = False
    moved: bool = False
    broken: Exception | None = None

    @property
    def body(self) -> str | None:
        """The state as JSON, when a decision changed it."""
        return self.kept.adapter.dump_json(self.state).decode() if self.changed else None


@dataclass(slots=True)
class Snapshot:
    """The facts of one batch; `done` remembers of a claim its answer, its digest, and its number if it is of this batch."""

    now: datetime
    context: Context
    done: dict[Claim, tuple[Answer, bytes, int]] = field(default_factory=dict)
    subjects: dict[Claim, Subject] = field(default_factory=dict)
    timers: set[str] = field(default_factory=set)

    @classmethod
    async def read(cls, connection: Any, messages: Sequence[Received], routes: Routes, load: Load) -> "Snapshot":
        """One round trip for the kit, and one for the context of services that have one."""
        claims = {claim for m in messages for claim in (m.claim, m.place) if claim}
        keys = {(m.kept.kind, m.subject) for m in messages if m.kept and not m.trouble}
        timers = [m.envelope.id for m in messages if isinstance(m.data, DueTimer)]
        asked = [c[0] for c in claims], [c[1] for c in claims], [k[0] for k in keys], [k[1] for k in keys], timers
        rows = await connection.fetch(READ, *asked)
        context = await load(connection, messages) if callable(load) else load
        snapshot = cls(datetime.fromisoformat(rows[0]["a"]), context)
        for row in rows[1:]:
            snapshot._keep(routes, *row)
        return snapshot

    def _keep(
        self, routes: Routes, what: str, a: str, b: str, version: int, schema: int, sequence: int, body: str | None,
        blocked: str, digest: bytes,
    ) -> None:  # fmt: skip
        if what == "done":
            self.done[a, b] = Answer(from_json(blocked), **(from_json(body) if body else {})), digest, 0
        elif what == "timer":
            self.timers.add(a)
        else:
            kept = routes.kept[a]
            if schema > kept.schema:
                raise NewerState(kept.kind)
            subject = self.subjects[a, b] = Subject(kept, b, version, sequence, blocked=set(from_json(blocked)))
            try:
                subject.state = kept.adapter.validator.validate_json(body) if body else None
            except ValueError as error:
                subject.broken = error

    def subject_of(self, message: Received) -> Subject | None:
        """The evolving state a message is decided on, a new one when nothing is known; None when it can only be parked."""
        if message.kept is None or message.subject is None or message.trouble:
            return None
        return self.subjects.setdefault((message.kept.kind, message.subject), Subject(message.kept, message.subject))
