"""What became of each handoff and when, read from the events of one episode in any order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from contracts import handoff
from contracts.custody import History, Recorded, custody_of
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.intake import EpisodeOpened

State = Literal["offered", "accepted", "declined", "overdue", "escalated", "superseded"]
Offered = tuple[Envelope, handoff.HandoffOffered]
Word = (
    handoff.HandoffAnswered | handoff.HandoffAccepted | handoff.HandoffDeclined | handoff.HandoffOverdue
    | handoff.HandoffEscalated | handoff.HandoffSuperseded
)  # fmt: skip
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffView:
    """One handoff that was offered, and the time of the first event of each kind about it.

    What no event tells is None. Every time but `answered_at` is of the arbiter's clock. A desk of people answers on an inbound
    topic, of which the ledger keeps digests only: `answered_at` is None there, and the confirmation tells the answer.

    `escalated` is what was overdue or declined and went on to a named desk; `superseded` is what its giver took back or
    offered anew, and an acceptance that counts for nothing. A handoff that an answer reached too late keeps its state.
    """

    handoff_id: str
    episode: str
    giver: str
    receiver: str
    kind: str
    attempt: int
    arbiter: str
    previous: str | None
    state: State
    deadline: datetime
    offered_at: datetime
    answered_at: datetime | None = None
    accepted_at: datetime | None = None
    declined_at: datetime | None = None
    overdue_at: datetime | None = None
    escalated_at: datetime | None = None
    superseded_at: datetime | None = None
    answered_by: str | None = None
    reason: str | None = None
    escalated_to: str | None = None

    @property
    def stands(self) -> bool:
        """Whether its receiver may still answer."""
        return self.state == "offered"

    @property
    def took(self) -> timedelta | None:
        """From the offer to the confirmed answer; both times are the arbiter's, so one clock measured it."""
        confirmed = self.accepted_at or self.declined_at
        return confirmed - self.offered_at if confirmed else None

    def late(self, as_of: datetime) -> bool:
        """Whether the arbiter had no answer by the deadline; one that still stands is judged as of an instant."""
        closed_at = None if self.stands else self.accepted_at or self.declined_at or self.overdue_at or self.superseded_at
        return (closed_at or as_of) > self.deadline


def handoffs_in(events: Iterable[Recorded]) -> tuple[HandoffView, ...]:
    """Every handoff that was offered in one episode: arbiters in the order of the chain, each in its own order.

    What was accepted and never offered is no handoff here; `custody_check` names it.
    """
    history = History(events)
    offers = {offer.handoff_id: (envelope, offer) for envelope, offer in reversed(history.said(handoff.HandoffOffered))}
    replaced = {offer.previous: envelope.time for envelope, offer in offers.values() if offer.previous}
    counting = {accepted.handoff_id for queue in history.acceptances().values() for _, accepted in queue}
    about = {handoff_id: _Said() for handoff_id in offers}
    for envelope, event in history.events:
        if isinstance(event, Word) and event.handoff_id in about:
            about[event.handoff_id].words.append((envelope, event))
    return tuple(
        about[offer.handoff_id].view((envelope, offer), offer.handoff_id in counting, replaced.get(offer.handoff_id))
        for envelope, offer in _in_order(history, offers.values())
    )


def _in_order(history: History, offers: Iterable[Offered]) -> list[Offered]:
    """By arbiter in the order of the chain, who only offered so far last; then by the arbiter's own count."""
    said_by = {envelope.id: envelope.source for envelope, _ in history.events}
    chain = [said_by[tenure.event_id] for tenure in custody_of(history.events).tenures]
    opening = [envelope.source for envelope, _ in history.said(EpisodeOpened)]
    places = {source: place for place, source in enumerate(dict.fromkeys([*opening, *chain]))}

    def place(offered: Offered) -> tuple[int, str, int, str]:
        envelope, _ = offered
        return places.get(envelope.source, len(places)), envelope.source, envelope.sequence or 0, envelope.id

    return sorted(offers, key=place)


class _Said:
    """What was said about one handoff after its offer, each service's words in their order."""

    def __init__(self) -> None:
        self.words: list[tuple[Envelope, Word]] = []

    def view(self, offered: Offered, counts: bool, replaced_at: datetime | None) -> HandoffView:
        """`counts`: its acceptance stands in the chain; `replaced_at`: when its giver offered the next one."""
        envelope, offer = offered
        declined, escalated = self._first(handoff.HandoffDeclined), self._first(handoff.HandoffEscalated)
        state = self._state(counts, replaced_at)
        return HandoffView(
            handoff_id=offer.handoff_id, episode=envelope.subject or "", giver=offer.giver, receiver=offer.receiver,
            kind=offer.kind, attempt=offer.attempt, arbiter=offer.arbiter, previous=offer.previous, state=state,
            deadline=offer.deadline, offered_at=envelope.time, answered_at=self._at(handoff.HandoffAnswered),
            accepted_at=self._at(handoff.HandoffAccepted), declined_at=self._at(handoff.HandoffDeclined),
            overdue_at=self._at(handoff.HandoffOverdue), escalated_at=self._at(handoff.HandoffEscalated),
            superseded_at=self._at(handoff.HandoffSuperseded) or (replaced_at if state == "superseded" else None),
            answered_by=self._answered_by(offer), reason=declined.reason if declined else None,
            escalated_to=escalated.escalated_to if escalated else None,
        )  # fmt: skip

    def _state(self, counts: bool, replaced_at: datetime | None) -> State:
        accepted, escalated = self._first(handoff.HandoffAccepted), self._first(handoff.HandoffEscalated)
        if accepted and counts:
            return "accepted"
        if escalated:
            return "escalated"
        if self._first(handoff.HandoffOverdue):
            return "overdue"
        if self._first(handoff.HandoffDeclined):
            return "declined"
        taken_back = any(isinstance(event, handoff.HandoffSuperseded) and not event.current for _, event in self.words)
        return "superseded" if accepted or taken_back or replaced_at else "offered"

    def _answered_by(self, offer: handoff.HandoffOffered) -> str | None:
        answer = self._first(handoff.HandoffAnswered)
        confirmed = self._first(handoff.HandoffAccepted) or self._first(handoff.HandoffDeclined)
        return answer.by if answer else offer.receiver if confirmed else None

    def _first(self, kind: type[E]) -> E | None:
        return next((event for _, event in self.words if isinstance(event, kind)), None)

    def _at(self, kind: type[Event]) -> datetime | None:
        return next((envelope.time for envelope, event in self.words if isinstance(event, kind)), None)
