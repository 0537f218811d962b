"""What followup decides about a plan: whose offer stands, and when the first session counts as held."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts import clinical, matching
from contracts.envelope import Envelope
from contracts.vocabulary import Need
from followup import handlers, handoffs
from followup.domain.clocks import Clocks
from followup.domain.plan import Plan
from followup.handlers import FIRST_SESSION, SILENCE
from messaging.decision import DueTimer, Facts

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
on_offered: Any = handoffs.on_handoff_offered
on_superseded: Any = handoffs.on_handoff_superseded
on_recorded: Any = handlers.on_session_recorded
on_overdue: Any = handlers.on_first_session_overdue


def facts(now: datetime = NOW) -> Facts[Clocks]:
    return Facts("e-1", now, Envelope(id="1", source="/rapport/matching", type="t", time=now, subject="e-1"), Clocks())


def offered(handoff: str, plan: Plan | None = None) -> Any:
    offer = matching.HandoffOffered(
        handoff_id=handoff, giver="matching", receiver="followup", attempt=1, kind="followup", arbiter="matching",
        deadline=NOW, consent_basis="treatment", need=Need(problem_area="anxiety", age_band="adult"), therapist_id="t-1",
    )  # fmt: skip
    return on_offered(offer, plan, facts())


def met(plan: Plan, attended: bool) -> Any:
    held = clinical.SessionRecorded(session_id=f"s-{len(plan.sessions)}", held_at=NOW + timedelta(hours=1), attended=attended)
    return on_recorded(held, plan, facts(NOW + timedelta(hours=2)))


def said(decision: Any) -> list[str]:
    return [type(event).__name__ for event in decision.publish]


def test_a_later_offer_takes_the_place_of_a_plan_whose_answer_came_too_late() -> None:
    first = met(offered("h-1").state, attended=True).state
    second = offered("h-3", first)
    assert said(second) == ["PlanStoodDown", "HandoffAnswered", "PlanActivated"]
    assert (second.state.handoff_id, second.state.stage, second.state.sessions) == ("h-3", "active", first.sessions)
    late = matching.HandoffSuperseded(handoff_id="h-1", answered_by="followup", answer="accepted", current="h-3")
    assert on_superseded(late, second.state, facts()).state is None


def test_the_same_offer_twice_begins_one_plan() -> None:
    again = offered("h-1", offered("h-1").state)
    assert (again.reason, said(again)) == ("already-active", ["HandoffAnswered"])


@pytest.mark.parametrize(("attended", "stopped"), [(True, [FIRST_SESSION]), (False, [])])
def test_only_a_session_that_was_attended_stops_the_clock_of_the_first(attended: bool, stopped: list[str]) -> None:
    plan = offered("h-1").state
    decision = met(plan, attended)
    assert list(decision.cancel) == stopped
    assert [timer.name for timer in decision.timers] == [SILENCE]
    overdue = on_overdue(DueTimer(FIRST_SESSION, NOW), decision.state, facts(NOW + timedelta(days=9)))
    assert said(overdue) == ([] if attended else ["SessionOverdue", "ReminderDue"])
