"""What a service says about its own work: decided, claimed, counted and sent like everything else it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic_core import to_json

from contracts.envelope import OURS, Envelope
from contracts.event import REGISTRY, Event
from messaging.decision import Command, Decision
from messaging.message import Received
from messaging.routes import Kept, On, Routes


@dataclass(frozen=True, slots=True)
class Shard:
    """One partition of what we said: counted up to row `n` of the outbox; `digest` as in ShardPosition."""

    partition: int
    n: int
    count: int = 0
    digest: str = "0" * 16


@dataclass(frozen=True, slots=True)
class Machinery:
    """What a service knows of its own work: how often its outbox was counted, and how far."""

    turn: int = 0
    shards: tuple[Shard, ...] = ()


class Note(Command):
    """Something about the machinery is to be said."""

    type: ClassVar[str] = "command:note"


# Its subjects are sources, such as /rapport/intake.
MACHINERY = Kept("machinery", Machinery)


def add_to(routes: Routes) -> None:
    """The processor of these routes knows the machinery too."""
    routes.kept[MACHINERY.kind] = MACHINERY


def class_of(source: str, name: str) -> Any:
    """The event of this name of that owner, such as GapFound of /rapport/intake; raises KeyError."""
    return REGISTRY[f"care{source.replace('/', '.')}.{name}.v1"]


def saying(routes: Routes, source: str, subject: str, key: str, events: Sequence[Event]) -> Received:
    """A message whose decision says these events and changes nothing; said once for each key.

    Whatever a service says about one subject has one counter, so an episode's is that of the service's first kind of state.
    """

    def say(*_: Any) -> Decision[Any]:
        return Decision(publish=events)

    kept = MACHINERY if subject.startswith(OURS) else next(iter(routes.kept.values()))
    return noting(source, kept, subject, key, Note(), On(Note, say), to_json([event.model_dump() for event in events]))


def noting(source: str, kept: Kept, subject: str, key: str, data: Command, route: On, value: bytes) -> Received:
    """A message of the machinery to itself, claimed by its key."""
    own = f"{source}/machinery"
    envelope = Envelope(id=key, source=own, type=data.type, subject=subject, time=datetime.now(UTC))
    return Received(envelope, (own, key), value, kept, route, subject, data)
