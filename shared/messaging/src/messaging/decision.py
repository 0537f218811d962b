"""What a handler is given and what it may answer: plain values, so that a service is tested without a broker or a database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from contracts.envelope import Envelope
from contracts.event import Event, Part

S = TypeVar("S")
C = TypeVar("C", covariant=True)


class Command(Part):
    """A wish that comes over HTTP and never over Kafka; `type` begins with `command:`."""

    type: ClassVar[str]


class Context(Protocol):
    """What a service's store loads for a batch; later decisions of the batch see the effects of earlier ones."""

    def after(self, effects: Sequence[Any]) -> "Context":
        """The context with these effects carried out."""


@dataclass(frozen=True, slots=True)
class NoContext:
    """For handlers that need nothing but their own state."""

    def after(self, effects: Sequence[Any]) -> "NoContext":
        """Nothing changes."""
        return self


@dataclass(frozen=True, slots=True)
class Facts(Generic[C]):
    """What a handler may know besides the event and the state: its subject, the batch's one `now`, the cause, the context."""

    subject: str
    now: datetime
    cause: Envelope
    context: C


@dataclass(frozen=True, slots=True)
class Timer:
    """Wakes this subject under a name, once; setting the same name again replaces it.

    A limit on somebody's answer sets `patience`: how long past `due` it waits for answers that are in Kafka but not yet read.
    None waits until they are read.
    """

    name: str
    due: datetime
    patience: timedelta | None = timedelta(0)


@dataclass(frozen=True, slots=True)
class DueTimer:
    """A timer that fired: decide by `due`, not by now; `backlog_unread` says that answers given in time may still be unread."""

    name: str
    due: datetime
    backlog_unread: bool = False


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """Applied: everything here lands in one transaction, or nothing of it.

    `state` None leaves the state as it is. `effects` are rows of the service's own tables, carried out by its SQL function
    `effects`, which may refuse them when a competitor was faster: then this subject is decided again. `hasten` makes timers of
    that name due now for whichever subject waits longest. `reply` is what an HTTP caller gets after the commit.
    """

    outcome: ClassVar[str] = "applied"
    reason: ClassVar[None] = None

    state: S | None = None
    publish: Sequence[Event] = ()
    timers: Sequence[Timer] = ()
    cancel: Sequence[str] = ()
    effects: Sequence[Any] = ()
    hasten: Sequence[str] = ()
    reply: Any = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A legal message at the wrong moment: answered by events with the reason, never parked; 409 over HTTP."""

    outcome: ClassVar[str] = "refused"

    reason: str
    publish: Sequence[Event] = ()
    reply: Any = None


@dataclass(frozen=True, slots=True)
class Early:
    """The subject is not known here yet: the message waits, with a limit, without blocking what it waits for."""

    reason: str = "subject-unknown"


@dataclass(frozen=True, slots=True)
class Invalid:
    """A payload whose schema does not hold but whose sender can be answered: the raw JSON object and what is wrong with it."""

    raw: dict[str, Any]
    problems: tuple[Any, ...] = field(default=())


Outcome = Decision[S] | Refused | Early
