"""Who is accountable for an episode, read from the events alone, whatever the order in which they are found.

The chain starts at `EpisodeOpened.custodian`, and only a `HandoffAccepted` whose giver holds the episode moves it. Events of
one service are ordered by their `sequence`; between services only handoff ids and custodians link, never two clocks.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from contracts import handoff
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.intake import EpisodeOpened

Recorded = tuple[Envelope, Event]
Accepted = tuple[Envelope, handoff.HandoffAccepted]
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Tenure:
    """One custodian's time, from the event that made it so; `handoff_id` is None for the opening."""

    custodian: str
    event_id: str
    since: datetime
    handoff_id: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The custodians of one episode, first to last, and the acceptances that do not fit.

    A `stray` acceptance was confirmed in the name of a giver who did not hold the episode. When its giver never held it, an
    acceptance before it is missing, and the chain goes on from its receiver; when its giver had handed it on already, there
    are two custodians, and the chain stays where it was.
    """

    tenures: tuple[Tenure, ...]
    stray: tuple[Accepted, ...] = ()

    @property
    def custodian(self) -> str | None:
        """Who is accountable now; None when the history does not say."""
        return self.tenures[-1].custodian if self.tenures else None


class History:
    """The events of one episode, each once, ordered within each service."""

    def __init__(self, events: Iterable[Recorded]) -> None:
        once = {(envelope.source, envelope.id): (envelope, event) for envelope, event in events}
        self.events = sorted(once.values(), key=lambda recorded: _place(recorded[0]))

    def said(self, kind: type[E]) -> list[tuple[Envelope, E]]:
        """All events of a kind; a base class of `contracts.handoff` finds every service's."""
        return [(envelope, event) for envelope, event in self.events if isinstance(event, kind)]

    def withdrawn(self) -> set[tuple[str, str]]:
        """Handoffs, with their receivers, that a giver took back because it had begun too late itself; nothing stands instead."""
        return {(event.handoff_id, event.answered_by) for _, event in self.said(handoff.HandoffSuperseded) if not event.current}

    def acceptances(self) -> dict[str, deque[Accepted]]:
        """The first acceptance of each handoff, by service, in that service's order, without those that were withdrawn."""
        queues: dict[str, deque[Accepted]] = {}
        seen, withdrawn = set[str](), self.withdrawn()
        for envelope, event in self.said(handoff.HandoffAccepted):
            if event.handoff_id not in seen and (event.handoff_id, event.receiver) not in withdrawn:
                seen.add(event.handoff_id)
                queues.setdefault(envelope.source, deque()).append((envelope, event))
        return queues


def custody_of(events: Iterable[Recorded]) -> Chain:
    """The chain of custodians of one episode; the same for every order of the events."""
    history = History(events)
    queues = history.acceptances()
    tenures = [Tenure(opened.custodian, envelope.id, envelope.time) for envelope, opened in history.said(EpisodeOpened)[:1]]
    stray: list[Accepted] = []
    arbiter = ""
    while queues:
        source = _next(queues, tenures, arbiter)
        envelope, accepted = queues[source].popleft()
        if not queues[source]:
            del queues[source]
        if tenures and tenures[-1].custodian != accepted.giver:
            stray.append((envelope, accepted))
            if any(tenure.custodian == accepted.giver for tenure in tenures):
                continue
        arbiter = source
        tenures.append(Tenure(accepted.receiver, envelope.id, envelope.time, accepted.handoff_id))
    return Chain(tuple(tenures), tuple(stray))


def _next(queues: dict[str, deque[Accepted]], tenures: list[Tenure], arbiter: str) -> str:
    """The service whose next acceptance the custodian gave; the one that arbitrated last goes first when two fit."""
    fitting = [source for source, queue in queues.items() if tenures and queue[0][1].giver == tenures[-1].custodian]
    return min(fitting or queues, key=lambda source: (source != arbiter, source))


def _place(envelope: Envelope) -> tuple[str, int, str]:
    return envelope.source, envelope.sequence or 0, envelope.id
