"""A batch on its way from decisions to its one write: states as they evolve, and what is asked of the database so far."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic_core import to_json
from uuid_utils import uuid7

from contracts.envelope import Envelope
from messaging import outbox
from messaging.decision import Decision, DueTimer, Refused, Timer
from messaging.message import Received
from messaging.routes import Kept

WRITE = "SELECT messaging.write($1," + ",".join(f"${n}" for n in range(2, 35)) + ")"


@dataclass(slots=True)
class Subject:
    """One subject in this batch: its state as read, then as decided so far; `number` is its place in the write."""

    kept: Kept
    key: str
    version: int = 0
    sequence: int = 0
    state: Any = None
    blocked: set[str] = field(default_factory=set)
    number: int = 0
    changed: bool = False
    moved: bool = False


@dataclass(slots=True)
class Draft:
    """Columns of the write, each list one parameter; a message without a subject gets a number below zero."""

    source: str
    topic: str
    now: datetime
    subjects: list[Subject] = field(default_factory=list)
    claims: list[tuple[Any, ...]] = field(default_factory=list)
    effects: list[tuple[int, str]] = field(default_factory=list)
    timers: dict[tuple[int, str], tuple[Any, ...] | None] = field(default_factory=dict)
    out: list[tuple[Any, ...]] = field(default_factory=list)
    hasten: list[str] = field(default_factory=list)
    parking: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    parked_values: list[bytes | None] = field(default_factory=list)
    alone: int = 0

    def number(self, subject: Subject | None) -> int:
        """The number under which the write judges this subject, or a message that has none."""
        if subject is None:
            self.alone -= 1
            return self.alone
        if not subject.number:
            self.subjects.append(subject)
            subject.number = len(self.subjects)
        return subject.number

    def claim(self, message: Received, number: int, outcome: str, reply: Any = None) -> None:
        """The message is done with, once and for all; a timer that fired is gone, unless its decision sets it again."""
        if isinstance(message.data, DueTimer):
            self.timers[number, message.data.name] = None
        answer = to_json(reply).decode() if reply is not None else None
        self.claims.append((number, *message.claim, message.digest, outcome, answer, message.lane_row is not None))

    def apply(self, message: Received, subject: Subject, decision: Decision[Any]) -> None:
        """Everything a decision asks for; raises TooLarge before anything of it is in the draft."""
        said = outbox.rows(self.source, self.topic, subject.key, decision.publish, message.envelope, self.now, subject.sequence)
        number = self.number(subject)
        self.claim(message, number, "applied", decision.reply)
        self._say(number, subject, said)
        if decision.state is not None:
            subject.state, subject.changed = decision.state, True
        subject.moved = True
        self.timers |= {(number, name): None for name in decision.cancel}
        for timer in decision.timers:
            self._set(number, timer, message.envelope)
        for effect in decision.effects:
            body = json.loads(to_json(effect))
            self.effects.append((number, json.dumps({"effect": type(effect).__name__, **body})))
        self.hasten += decision.hasten

    def refuse(self, message: Received, subject: Subject, refused: Refused) -> None:
        """A refusal changes nothing but what was said."""
        said = outbox.rows(self.source, self.topic, subject.key, refused.publish, message.envelope, self.now, subject.sequence)
        number = self.number(subject)
        self.claim(message, number, "refused", {"refused": refused.reason, "reply": refused.reply})
        self._say(number, subject, said)

    def _say(self, number: int, subject: Subject, said: list[outbox.Row]) -> None:
        subject.sequence += len(said)
        self.out += [(number, row.shard, row.topic, row.key, row.attributes, row.value) for row in said]

    def _set(self, number: int, timer: Timer, cause: Envelope) -> None:
        anyway = datetime.max.replace(tzinfo=self.now.tzinfo) if timer.patience is None else timer.due + timer.patience
        because = {"correlationid": cause.correlationid or cause.id, "causationid": cause.id, "sensitivity": cause.sensitivity}
        self.timers[number, timer.name] = (number, timer.name, str(uuid7()), timer.due, anyway, json.dumps(because))

    def columns(self) -> tuple[Any, ...]:
        """The parameters of `messaging.write`, in its order."""
        states = [
            (s.kept.kind, s.key, s.version, s.kept.schema, s.sequence, self._body(s), json.dumps(sorted(s.blocked)))
            for s in self.subjects
        ]
        wake = [{"state": s.number} for s in self.subjects if s.blocked and s.moved]
        parked = {**self.parking, "wake": wake} if self.parking or wake else None
        cancelled = [name for name, timer in self.timers.items() if timer is None]
        timers = [timer for timer in self.timers.values() if timer]
        return (
            self.now, *_columns(states, 7), *_columns(self.claims, 7), *_columns(self.effects, 2), *_columns(cancelled, 2),
            *_columns(timers, 6), *_columns(self.out, 6),
            self.hasten, json.dumps(parked, default=str) if parked else None, self.parked_values,
        )  # fmt: skip

    @staticmethod
    def _body(subject: Subject) -> str | None:
        return subject.kept.adapter.dump_json(subject.state).decode() if subject.changed else None


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
