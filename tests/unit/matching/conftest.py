"""Builders for matching's decisions: a therapist, a need, a directory, and a match that has come some way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts import clinical, intake
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.vocabulary import Need
from matching import handlers
from matching.domain.directory import Directory, Index
from matching.domain.listing import Listing
from matching.domain.match import Match, Terms
from matching.domain.places import TakePlace
from messaging.decision import Decision, DueTimer, Early, Facts

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
TERMS = Terms(desks=("matching-desk", "clinical-director"))


def therapist(**changes: Any) -> Listing:
    listed: dict[str, Any] = {
        "version": 1, "capacity": 2, "problem_areas": ("anxiety",), "levels_of_care": ("outpatient",), "age_bands": ("adult",),
        "languages": ("en",), "places": ("WA",), "modalities": ("video", "in-person"), "payers": ("aetna",),
    }  # fmt: skip
    return Listing(**(listed | changes))


def need(**changes: Any) -> Need:
    asked = {"problem_area": "anxiety", "age_band": "adult", "place": "WA", "payer": "aetna"}
    return Need.model_validate(asked | changes)


def directory_of(**listings: Listing) -> Directory:
    return Directory.of(Index(listings), {}, TERMS)


def facts_of(directory: Directory, episode: str = "e-1", now: datetime = NOW, cause: str = "c-1") -> Facts[Directory]:
    return Facts(episode, now, Envelope(id=cause, source="/portal", type="t", time=now, subject=episode), directory)


def handoff(handoff_id: str = "h-1", **changes: Any) -> intake.HandoffOffered:
    offered: dict[str, Any] = {
        "handoff_id": handoff_id, "giver": "intake", "receiver": "matching", "attempt": 1, "kind": "matching",
        "arbiter": "intake", "deadline": NOW + timedelta(hours=1), "consent_basis": "treatment", "need": need(),
    }  # fmt: skip
    return intake.HandoffOffered(**(offered | changes))


@dataclass
class Journey:
    """One episode and what is said about it, decision by decision, on one directory."""

    directory: Directory
    episode: str = "e-1"
    now: datetime = NOW
    match: Match | None = None
    said: list[Event] = field(default_factory=list)
    last: Any = None
    moves: int = 0

    def tell(self, handler: Callable[..., Any], event: Any) -> Any:
        """Decides as the kit does and keeps what follows."""
        self.moves += 1
        facts = facts_of(self.directory, self.episode, self.now, f"{self.episode}-{self.moves}")
        self.last = outcome = handler(event, self.match, facts)
        if isinstance(outcome, Decision):
            self.match = outcome.state or self.match
            self.directory = self.directory.after(outcome.effects)
        if not isinstance(outcome, Early):
            self.said += outcome.publish
        return outcome

    def begin(self, **changes: Any) -> "Journey":
        self.tell(handlers.on_handoff_offered, handoff(**changes))
        return self

    def choose(self, therapist_id: str = "any") -> "Journey":
        self.tell(handlers.on_choice_made, clinical.ChoiceMade(therapist_id=therapist_id))
        return self

    def answer(self, answer: str, offer_id: str | None = None) -> "Journey":
        event = {"offer_id": offer_id or self.offer.id, "answer": answer, "reason": "full" if answer == "declined" else None}
        self.tell(handlers.on_offer_answered, clinical.OfferAnswered.model_validate(event))
        return self

    def let_expire(self) -> "Journey":
        deadline = self.offer.deadline
        self.now = max(self.now, deadline)
        self.tell(handlers.on_offer_expired, DueTimer("offer-expires", deadline))
        return self

    @property
    def offer(self) -> Any:
        assert self.match
        assert self.match.offer
        return self.match.offer

    @property
    def stage(self) -> str | None:
        return self.match.stage if self.match else None

    def names(self) -> list[str]:
        """What was said since the last question, by event name."""
        told, self.said = [type(event).__name__ for event in self.said], []
        return told


@pytest.fixture
def journey() -> Callable[..., Journey]:
    return lambda episode="e-1", /, **listings: Journey(directory_of(**listings), episode)


@pytest.fixture
def listing() -> Callable[..., Listing]:
    return therapist


@pytest.fixture
def asked() -> Callable[..., Need]:
    return need


@pytest.fixture
def directory() -> Callable[..., Directory]:
    return directory_of


@pytest.fixture
def facts() -> Callable[..., Facts[Directory]]:
    return facts_of


@pytest.fixture
def full() -> Callable[[Directory, str], Directory]:
    """The directory when others have taken every place of a therapist."""

    def fill(directory: Directory, therapist_id: str) -> Directory:
        capacity = directory.index.listings[therapist_id].capacity
        return directory.after([TakePlace(therapist_id, n, n, f"other-{n}", capacity) for n in range(1, capacity + 1)])

    return fill
