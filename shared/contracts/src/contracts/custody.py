"""Who is accountable for an episode, read from the events alone, whatever the order in which they are found.

The chain starts at `EpisodeOpened.custodian`, and only a `HandoffAccepted` whose giver holds the episode moves it. Events of
one service are ordered by their `sequence`; between services only handoff ids and custodians link, never two clocks.
"""

from collections import deque
from collections.abc import Iterable, Iterator
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
        """Handoffs, with their receivers, that a giver took back, having begun too late itself; nothing stands instead."""
        return {(event.handoff_id, event.answered_by) for _, event in self.said(handoff.HandoffSuperseded) if not event.current}

    def acceptances(self) -> dict[str, deque[Accepted]]:
        """The first acceptance of each handoff, by service, in that service's order, without those that count for nothing."""
        queues: dict[str, deque[Accepted]] = {}
        seen, too_late = set[str](), _TooLate(self)
        for envelope, event in self.said(handoff.HandoffAccepted):
            if event.handoff_id not in seen and not too_late.accepted(event):
                seen.add(event.handoff_id)
                queues.setdefault(envelope.source, deque()).append((envelope, event))
        return queues


class _TooLate:
    """What was handed on by somebody whose own acceptance came too late: it was superseded, and never confirmed."""

    def __init__(self, history: History) -> None:
        confirmed = {event.handoff_id for _, event in history.said(handoff.HandoffAccepted)}
        answered = {(event.handoff_id, event.answered_by) for _, event in history.said(handoff.HandoffSuperseded)}
        self._late = {one for one in answered if one[0] not in confirmed}
        self._withdrawn = history.withdrawn()
        self._offers = {event.handoff_id: event for _, event in history.said(handoff.HandoffOffered)}

    def accepted(self, event: handoff.HandoffAccepted) -> bool:
        """Whether this acceptance counts for nothing."""
        if (event.handoff_id, event.receiver) in self._withdrawn:
            return True
        return any((offer.handoff_id, offer.receiver) in self._late for offer in self._received_by(event.handoff_id))

    def _received_by(self, handoff_id: str) -> Iterator[handoff.HandoffOffered]:
        """The handoff by which this one's giver came to the episode, the one by which its giver did, and so on.

        A desk that is asked again while it has the episode came to it before that.
        """
        offer, before, seen = self._offers.get(handoff_id), self._before(handoff_id), {handoff_id}
        while offer and before and before.handoff_id not in seen:
            seen.add(before.handoff_id)
            if before.receiver == offer.giver != before.giver:
                yield before
                offer = before
            before = self._before(before.handoff_id)

    def _before(self, handoff_id: str) -> handoff.HandoffOffered | None:
        offer = self._offers.get(handoff_id)
        return self._offers.get(offer.previous) if offer and offer.previous else None


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
