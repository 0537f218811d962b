"""The routing table of a service: which event or due timer goes to which handler, and whose state it decides on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from contracts import catalog
from contracts.event import Event
from contracts.topics import topic_of
from messaging.decision import Command, Invalid

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class On:
    """One event type; `subject` derives our subject where it is not the envelope's.

    With `invalid_subject`, a payload whose schema does not hold reaches the handler too, as Invalid, when that function can
    tell whose it is. One that is `independent` of those before it does not hold its lane when it is parked.
    """

    event: type[Event] | type[Command]
    handler: Handler
    subject: Callable[[Any], str] | None = None
    invalid_subject: Callable[[Invalid], str | None] | None = None
    independent: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """One timer name."""

    name: str
    handler: Handler


class Kept:
    """One kind of state that a service keeps per subject, and all that may change it.

    `schema` is the version of the state's shape: a row written by a newer one is not touched by older code.
    """

    def __init__(self, kind: str, state: type, *routes: On | Due, schema: int = 1) -> None:
        self.kind, self.schema, self.routes = kind, schema, routes
        self.adapter: TypeAdapter[Any] = TypeAdapter(state)


class Routes:
    """All routes of a service; raises ValueError when two claim one event or timer.

    `others` are the known types without a route here: somebody else's concern.
    """

    def __init__(self, *kept: Kept) -> None:
        self.kept = {k.kind: k for k in kept}
        self.events: dict[str, tuple[Kept, On]] = {}
        self.timers: dict[str, tuple[Kept, Due]] = {}
        for k in kept:
            for route in k.routes:
                self._add(k, route)
        self.commands = frozenset(name for name in self.events if name.startswith("command:"))
        self.topics = tuple(sorted({topic_of(name) for name in self.events if name not in self.commands}))
        self.others = frozenset(name.encode() for name in catalog.TYPES if name not in self.events)

    def _add(self, kept: Kept, route: On | Due) -> None:
        table: dict[str, Any] = self.events if isinstance(route, On) else self.timers
        name = route.event.type if isinstance(route, On) else route.name
        if name in table:
            raise ValueError(f"two routes for {name}")
        table[name] = (kept, route)


on, due = On, Due
