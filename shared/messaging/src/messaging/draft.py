"""A batch on its way from decisions to its one write: what is asked of the database so far, column by column."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from pydantic_core import to_json
from uuid_utils import uuid7

from contracts.envelope import Envelope
from messaging import outbox
from messaging.decision import Decision, DueTimer, Refused, Timer
from messaging.message import Answer, Received
from messaging.snapshot import Subject

WRITE = f"SELECT * FROM messaging.write_and_tell({', '.join(f'${n}' for n in range(1, 35))})"  # noqa: S608


def digest_of(message: Received) -> bytes:
    """What tells a duplicate from another event with the same id."""
    if message.digest is None:
        about = f"{message.envelope.type} {message.envelope.subject} ".encode()
        message.digest = blake2b(about + message.value, digest_size=16).digest()
    return message.digest


@dataclass(slots=True)
class Draft:
    """Columns of the write; a message without a subject gets a number below zero, a subject its place above."""

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

    def number(self, subject: Subject | None) -> int:
        """The number under which the write judges this subject, or a message that has none."""
        if subject is None:
            return -1 - len(self.claims)
        if not subject.number:
            self.subjects.append(subject)
            subject.number = len(self.subjects)
        return subject.number

    def claim(self, message: Received, number: int, answer: Answer) -> None:
        """The message is done with, once and for all; a timer that fired is gone, unless its decision sets it again."""
        if isinstance(message.data, DueTimer):
            self.timers[number, message.data.name] = None
        answered = answer.reason or answer.reply is not None
        words = to_json({"reason": answer.reason, "reply": answer.reply}).decode() if answered else None
        self.claims.append((number, *message.claim, digest_of(message), answer.outcome, words, message.lane_row is not None))

    def apply(self, message: Received, subject: Subject, decided: Decision[Any] | Refused) -> Answer:
        """Everything a decision asks for; raises TooLarge before anything of it is in the draft."""
        cause = message.envelope
        said = outbox.rows(self.source, self.topic, subject.key, decided.publish, cause, self.now, subject.sequence)
        number = self.number(subject)
        subject.sequence += len(said)
        self.out += [(number, *row) for row in said]
        answer = Answer(decided.outcome, decided.reason, decided.reply)
        self.claim(message, number, answer)
        if isinstance(decided, Decision):
            self._change(number, subject, decided, cause)
        return answer

    def _change(self, number: int, subject: Subject, decision: Decision[Any], cause: Envelope) -> None:
        subject.moved = True
        if decision.state is not None:
            subject.state, subject.changed = decision.state, True
        for name in decision.cancel:
            self.timers[number, name] = None
        for timer in decision.timers:
            self.timers[number, timer.name] = _timer(number, timer, cause)
        self.effects += [(number, to_json({"effect": type(e).__name__, **asdict(e)}).decode()) for e in decision.effects]
        self.hasten += decision.hasten

    def columns(self) -> tuple[Any, ...]:
        """The parameters of `messaging.write`, in its order."""
        states = [
            (s.kept.kind, s.key, s.version, s.kept.schema, s.sequence, s.body, to_json(sorted(s.blocked)).decode())
            for s in self.subjects
        ]
        cancelled = [name for name, timer in self.timers.items() if timer is None]
        timers = [timer for timer in self.timers.values() if timer]
        wake = [{"state": s.number} for s in self.subjects if s.blocked and s.moved]
        parked = to_json({**self.parking, "wake": wake}).decode() if self.parking or wake else None
        tables = (states, 7), (self.claims, 7), (self.effects, 2), (cancelled, 2), (timers, 6), (self.out, 6)
        columns = [column for rows, width in tables for column in (zip(*rows, strict=True) if rows else [()] * width)]
        return self.now, *columns, self.hasten, parked, self.parked_values


def _timer(number: int, timer: Timer, cause: Envelope) -> tuple[Any, ...]:
    anyway = datetime.max.replace(tzinfo=UTC) if timer.patience is None else timer.due + timer.patience
    because = {"correlationid": cause.correlationid or cause.id, "causationid": cause.id, "sensitivity": cause.sensitivity}
    return number, timer.name, str(uuid7()), timer.due, anyway, to_json(because).decode()
