"""What became of every referral, counted from the topics alone and never from what a service says about itself."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts import followup, intake, matching
from contracts.envelope import Envelope
from contracts.event import Event

Fate = Literal["follow-up", "waiting", "refused", "lost"]
Sent = tuple[str, str]


@dataclass(slots=True)
class Tally:
    """A fold over all events of the owners' topics, in any order that keeps each (source, subject) in sequence."""

    episode_of: dict[Sent, str] = field(default_factory=dict)
    refused: set[Sent] = field(default_factory=set)
    plans: dict[str, set[str]] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    effects: Counter[tuple[str, ...]] = field(default_factory=Counter)
    types: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, envelope: Envelope, event: Event) -> None:
        """One event; the same (source, id) again counts once, since delivery is at least once."""
        if (envelope.source, envelope.id) in self._seen:
            return
        self._seen.add((envelope.source, envelope.id))
        self.types[envelope.source, type(event).__name__] += 1
        self._count(envelope.subject or "", event)
        if (effect := _effect(envelope, event)) is not None:
            self.effects[effect] += 1

    def _count(self, episode: str, event: Event) -> None:
        match event:
            case intake.ReferralAccepted():
                self.episode_of[event.referral_source, event.referral_id] = episode
            case intake.ReferralRefused():
                self.refused.add((event.referral_source, event.referral_id))
            case followup.PlanActivated():
                self.plans.setdefault(episode, set()).add(event.plan_id)
            case followup.PlanStoodDown():
                self.plans.get(episode, set()).discard(event.plan_id)
            case matching.WaitingStarted():
                self.waiting.add(episode)
            case matching.WaitingEnded():
                self.waiting.discard(episode)
            case _:
                pass

    def fate(self, sent: Sent) -> Fate:
        """Where the client of one referral stands."""
        episode = self.episode_of.get(sent)
        if sent in self.refused:
            return "refused"
        if episode is not None and self.plans.get(episode):
            return "follow-up"
        return "waiting" if episode in self.waiting else "lost"

    def doubled(self) -> list[tuple[str, ...]]:
        """Causes with a second effect: a plan, a place, an answer."""
        twice = [effect for effect, times in self.effects.items() if times > 1]
        return twice + [("plan", episode) for episode, plans in self.plans.items() if len(plans) > 1]


def _effect(envelope: Envelope, event: Event) -> tuple[str, ...] | None:
    name = type(event).__name__
    match event:
        case intake.ReferralAccepted() | intake.ReferralRefused():
            return "answer", event.referral_source, event.referral_id
        case matching.MatchOffered():
            return "place", event.therapist_id, str(event.counter)
        case matching.PlaceFreed():
            return "place", event.therapist_id, str(event.counter)
        case matching.MatchAccepted() | matching.MatchDeclined() | matching.MatchExpired():
            return "offer", event.offer_id
        case followup.PlanActivated():
            return "plan", event.plan_id
        case intake.HandoffAccepted() | matching.HandoffAccepted():
            return name, envelope.source, event.handoff_id
        case _:
            return None


def summary(tally: Tally, sent: Iterable[Sent], without_custodian: int) -> tuple[str, bool]:
    """The demo's last line, and whether all is well."""
    fates: Counter[Any] = Counter(tally.fate(one) for one in set(sent))
    doubled = len(tally.doubled())
    line = (
        f"journeys: {fates.total()} referred = {fates['follow-up']} in follow-up + {fates['waiting']} waiting"
        f" + {fates['refused']} refused; {fates['lost']} lost, {doubled} doubled, {without_custodian} without custodian"
    )
    return line, not (fates["lost"] or doubled or without_custodian)
