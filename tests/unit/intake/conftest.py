"""Builders for intake's decisions: a referral, what a handler knows, and an episode that a referral opened."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.envelope import Envelope
from contracts.referral import ReferralSubmitted
from intake.domain.episode import Episode
from intake.domain.urgency import Clocks
from intake.handlers import Context, episode_of, on_referral_submitted
from messaging.decision import Decision, Facts

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
CONTEXT = Context(
    digest=lambda referral: referral.model_dump_json(),
    came_by_door=lambda actor: actor == "our-door",
    clocks=Clocks(),
    desks=("duty-manager", "clinical-director"),
)


def referral_of(urgency: str = "routine", **changes: Any) -> ReferralSubmitted:
    client = {"record_number": "MRN-1", "family_name": "Doe", "given_name": "Jo", "birth_date": "1990-05-01"}
    need = {"problem_area": "anxiety", "urgency": urgency}
    asked = {"assigner": "st-mary", "identifier": "R-1", "client": client, "need": need, "consent": {"kind": "treatment"}}
    return ReferralSubmitted.model_validate(asked | changes)


def facts_of(subject: str, /, now: datetime = NOW, **attributes: Any) -> Facts[Context]:
    told = {"id": "e-1", "source": "/st-mary", "type": "t", "time": now, "subject": "R-1"} | attributes
    return Facts(subject, now, Envelope(**told), CONTEXT)


def opened_by(asked: ReferralSubmitted) -> Episode:
    decision = on_referral_submitted(asked, None, facts_of(episode_of(asked)))
    assert isinstance(decision, Decision)
    assert decision.state
    return decision.state


@pytest.fixture
def referral() -> Callable[..., ReferralSubmitted]:
    return referral_of


@pytest.fixture
def facts() -> Callable[..., Facts[Context]]:
    return facts_of


@pytest.fixture
def opened() -> Callable[[ReferralSubmitted], Episode]:
    return opened_by


@pytest.fixture
def later() -> datetime:
    return NOW + timedelta(hours=2)
