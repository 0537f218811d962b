"""One message on its way in, whatever brought it: a Kafka record, an HTTP command, a due timer, or a row set aside before."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from contracts.envelope import Envelope
from contracts.event import Event
from messaging.decision import Command, DueTimer, Invalid
from messaging.routes import Due, Kept, On


class Record(Protocol):
    """The part of a Kafka record that is read; aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a message can only be parked: a code, and where in the record, never what stands there."""

    reason: str
    path: str | None = None


@dataclass(slots=True)
class Received:
    """A message with everything needed to decide it; filled while it is read, and then only read.

    `claim` is the (source, id) it is known by, `place` the one under which it may stand parked already; `lane_row` is its
    row when it was set aside before, `gives_up_at` the end of its patience if it is still early, None while not all was
    read that may release it.
    """

    envelope: Envelope
    claim: tuple[str, str]
    value: bytes
    kept: Kept | None = None
    route: On | Due | None = None
    subject: str | None = None
    data: Event | Command | Invalid | DueTimer | None = None
    trouble: Trouble | None = None
    record: Record | None = None
    place: tuple[str, str] | None = None
    lane_row: int | None = None
    gives_up_at: datetime | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How a message ended; `reply` is its Decision's, also when a duplicate asks again."""

    outcome: str
    reason: str | None = None
    reply: Any = None
    duplicate: bool = False


Placed = Sequence[tuple[int, Received]]


def by_subject(placed: Placed) -> list[Placed]:
    """The messages of each subject by themselves, in their order."""
    groups: dict[Hashable, list[tuple[int, Received]]] = {}
    for place, message in placed:
        key = (message.kept.kind, message.subject) if message.kept and message.subject else place
        groups.setdefault(key, []).append((place, message))
    return list(groups.values())
