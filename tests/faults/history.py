"""What a run said, as it lies in Kafka: the first occurrence of every event with its place, and what came again."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import ValidationError

from contracts.catalog import TYPES
from contracts.custody import Recorded
from contracts.envelope import Envelope
from contracts.event import REGISTRY, Event
from contracts.record import read_record
from contracts.refusal import EnvelopeError
from contracts.topics import OWNED

Claim = tuple[str, str]
MARK = "x-mark"


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Said:
    """One event at its place; `came` is the timestamp of its record, the broker's own on inbound topics."""

    place: Place
    envelope: Envelope
    event: Any
    digest: bytes
    came: datetime

    @property
    def claim(self) -> Claim:
        """What the event is known by."""
        return self.envelope.source, self.envelope.id

    @property
    def subject(self) -> str:
        return self.envelope.subject or ""

    def __str__(self) -> str:
        number = f" #{self.envelope.sequence}" if self.envelope.sequence is not None else ""
        cause = f" because of {self.envelope.causationid}" if self.envelope.causationid else ""
        return (
            f"{self.place} {self.envelope.source} {type(self.event).__name__}{number} about {self.subject}"
            f" id {self.envelope.id}{cause}"
        )


class Unknown(Event):
    """Stands for the data of a type that this checkout does not know, or that does not hold its schema."""


@dataclass(slots=True)
class History:
    """First occurrences in the order of their partitions; `places` has the place of every event said, by its claim.

    `marked` has the places of records that bear a mark of whoever sent them.
    """

    said: list[Said] = field(default_factory=list)
    places: dict[Claim, Said] = field(default_factory=dict)
    again: list[Said] = field(default_factory=list)
    unreadable: list[Place] = field(default_factory=list)
    marked: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    _types: dict[type[Event], list[Said]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, records: Iterable[Any]) -> "History":
        """From Kafka records; those of one partition must come in the order of their offsets."""
        history = cls()
        for record in records:
            history.add(record)
        return history

    def add(self, record: Any) -> None:
        """One more record."""
        place = Place(record.topic, record.partition, record.offset)
        for mark in (raw for name, raw in record.headers if name == MARK):
            self.marked[mark.decode()].append(place)
        try:
            envelope, value = read_record(record.headers, record.value)
        except EnvelopeError:
            self.unreadable.append(place)
            return
        digest = blake2b(f"{envelope.type} {envelope.subject} ".encode() + value, digest_size=16).digest()
        came = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        said = Said(place, envelope, _event(envelope.type, value), digest, came)
        if said.claim in self.places:
            self.again.append(said)
            return
        self.places[said.claim] = said
        self.said.append(said)
        self._types[type(said.event)].append(said)

    def all(self, *kinds: type[Event]) -> list[Said]:
        """All events of these classes and of those below them, partition by partition."""
        return [one for kind, said in self._types.items() if issubclass(kind, kinds) for one in said]

    def ours(self) -> list[Said]:
        """What our services said on topics of their own."""
        return [one for one in self.said if one.envelope.source == _owner(one.place.topic)]

    def episodes(self) -> Mapping[str, list[Recorded]]:
        """The events of our services by episode."""
        found: dict[str, list[Recorded]] = defaultdict(list)
        for one in self.said:
            if one.place.topic in OWNED:
                found[one.subject].append((one.envelope, one.event))
        return found


@cache
def _owner(topic: str) -> str | None:
    return OWNED.get(topic) or (f"/rapport/{topic.partition('.')[0]}" if topic.endswith(".parked.v1") else None)


@cache
def _class(event_type: str) -> type[Event] | None:
    return REGISTRY[event_type] if event_type in TYPES else None


def _event(event_type: str, value: bytes) -> Event:
    found = _class(event_type)
    try:
        return found.model_validate_json(value) if found else Unknown()
    except ValidationError:
        return Unknown()


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that somebody outside sent although it cannot be processed as it stands, and what must become of it.

    `parked_by` are the services that must set it aside; `answered` is the event that must be said because of its id; `taken` is
    the claim under which it counts as a referral after all.
    """

    kind: str
    parked_by: frozenset[str] = frozenset()
    answered: tuple[type[Event], str] | None = None
    taken: Claim | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What the verification of the ledger printed: how many entries are signed, and each thing that is wrong."""

    entries: int
    flaws: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What people outside did and were told: all that a checker knows besides Kafka.

    `acknowledged` are referrals whose door said that they are in; `poison` is known by the mark that its records bear; `shown`
    is what the ledger shows of an episode; `ledger` is what its own verification found.
    """

    as_of: datetime
    acknowledged: frozenset[Claim] = frozenset()
    poison: Mapping[str, Poison] = field(default_factory=dict)
    shown: Mapping[str, frozenset[Claim]] = field(default_factory=dict)
    ledger: "Verified | None" = None
