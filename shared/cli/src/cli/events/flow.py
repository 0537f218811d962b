"""Where clients stand and what is late, folded from events in any order: what an operator sees without asking a service."""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from contracts import followup, handoff, intake, matching
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.parked import RecordParked
from contracts.topics import FOLLOWUP, INTAKE, MATCHING

Waiting = tuple[str, handoff.HandoffOffered]

# The stage to which each event of a service brings its client; None takes back what that service said before.
STAGES: tuple[tuple[type[Event], str | None], ...] = (
    (intake.ReferralRefused, "refused"),
    (intake.EpisodeOpened, "opened"),
    (matching.HandoffAnswered, "with matching"),
    (matching.ShortlistProposed, "choosing"),
    (matching.MatchOffered, "offered to a therapist"),
    (matching.MatchAccepted, "accepted by a therapist"),
    (matching.WaitingStarted, "waiting for a place"),
    (matching.WaitingEnded, "with matching"),
    (followup.PlanActivated, "in follow-up"),
    (followup.PlanStoodDown, None),
)
_ORDER = tuple(dict.fromkeys(stage for _, stage in STAGES if stage))
_FURTHEST_FIRST = (FOLLOWUP, MATCHING, INTAKE)
_WINDOW = timedelta(seconds=10)


@dataclass(slots=True)
class Flow:
    """What is known so far; an event that is applied twice changes nothing, except the rates."""

    parked: dict[tuple[str, str], str] = field(default_factory=dict)
    _said: defaultdict[str, dict[str, tuple[int, str | None]]] = field(default_factory=lambda: defaultdict(dict))
    _offered: dict[str, Waiting] = field(default_factory=dict)
    _closed: dict[str, bool] = field(default_factory=dict)
    _written: defaultdict[tuple[str, str], deque[datetime]] = field(default_factory=lambda: defaultdict(deque))

    def apply(self, topic: str, envelope: Envelope, event: Event, written: datetime) -> None:
        """One event as it was found on a topic, and when the broker wrote it."""
        self._written[topic, envelope.source].append(written)
        subject = envelope.subject or ""
        if isinstance(event, RecordParked):
            self.parked[topic, subject] = event.reason
        self._move(topic, subject, envelope.sequence or 0, event)
        self._hand(subject, event)

    def rates(self, now: datetime) -> dict[tuple[str, str], float]:
        """Events per second of each topic and source, over the last ten seconds."""
        for times in self._written.values():
            while times and now - times[0] > _WINDOW:
                times.popleft()
        return {key: len(times) / _WINDOW.total_seconds() for key, times in sorted(self._written.items())}

    def standings(self) -> dict[str, int]:
        """How many clients are at each stage, in the order of the journey."""
        counts = Counter(_furthest(said) for said in self._said.values())
        return {stage: counts[stage] for stage in _ORDER if counts[stage]}

    def late(self, now: datetime) -> list[Waiting]:
        """Handoffs whose deadline has passed without an answer; the longest wait first."""
        waiting = [one for handoff_id, one in self._offered.items() if handoff_id not in self._closed]
        return sorted((one for one in waiting if one[1].deadline < now), key=lambda one: one[1].deadline)

    def overdue(self) -> int:
        """How many handoffs ran out, ever."""
        return sum(self._closed.values())

    def _move(self, topic: str, episode: str, sequence: int, event: Event) -> None:
        """The latest word of each service counts; a refusal never undoes an episode that was opened."""
        for kind, stage in STAGES:
            if isinstance(event, kind):
                place = -1 if stage == "refused" else sequence
                self._said[episode][topic] = max(self._said[episode].get(topic, (-1, stage)), (place, stage), key=_when)

    def _hand(self, episode: str, event: Event) -> None:
        if isinstance(event, handoff.HandoffOffered):
            self._offered[event.handoff_id] = (episode, event)
        elif isinstance(event, handoff.HandoffAccepted | handoff.HandoffDeclined | handoff.HandoffOverdue):
            self._closed[event.handoff_id] = isinstance(event, handoff.HandoffOverdue)


def _when(word: tuple[int, str | None]) -> int:
    return word[0]


def _furthest(said: dict[str, tuple[int, str | None]]) -> str | None:
    return next((said[topic][1] for topic in _FURTHEST_FIRST if topic in said and said[topic][1]), None)
