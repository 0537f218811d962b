"""Everything the owners' topics said, kept in memory for the demo's tables."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.demo.tally import Sent, Tally
from contracts import followup, intake
from contracts.custody_check import Finding, check
from contracts.envelope import Envelope
from contracts.event import REGISTRY, Event
from contracts.record import read_record


@dataclass(slots=True)
class Record:
    """An observer of the playground: the tally and each episode's events."""

    tally: Tally = field(default_factory=Tally)
    episodes: dict[str, list[tuple[Envelope, Event]]] = field(default_factory=lambda: defaultdict(list))

    def observe(self, record: Any) -> None:
        """One Kafka record of an owner's topic."""
        envelope, value = read_record(record.headers, record.value)
        event = REGISTRY[envelope.type].model_validate_json(value)
        self.tally.add(envelope, event)
        self.episodes[envelope.subject or ""].append((envelope, event))

    def custody_findings(self) -> list[Finding]:
        """What `rapport custody check` would find now."""
        return check(self.episodes, datetime.now(UTC))

    def journeys(self) -> dict[str, timedelta]:
        """From the episode's opening to its active plan."""
        return {episode: took for episode, events in self.episodes.items() if (took := _took(events)) is not None}

    def ended(self, sent: list[Sent]) -> int:
        """How many of these referrals stand somewhere."""
        return sum(self.tally.fate(one) != "lost" for one in sent)


def _took(events: list[tuple[Envelope, Event]]) -> timedelta | None:
    opened = [envelope.time for envelope, event in events if isinstance(event, intake.EpisodeOpened)]
    active = [envelope.time for envelope, event in events if isinstance(event, followup.PlanActivated)]
    return max(active) - min(opened) if opened and active else None
