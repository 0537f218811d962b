"""Which handoffs are at risk: against what their kind took so far, or, when that says too little, against their own limit."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.journeys import Journey

from contracts.at_risk import ENOUGH, Risk, at_risk, p95, risk_of
from contracts.handoff_view import HandoffView, handoffs_in

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def standing(**other: object) -> HandoffView:
    """One that was offered an hour before its deadline."""
    journey = Journey()
    journey.intake().offer("matching")
    view = handoffs_in(journey.events)[0]
    return replace(view, deadline=view.offered_at + HOUR, **other)  # type: ignore[arg-type]


def after(age: timedelta, took: list[timedelta]) -> Risk:
    view = standing()
    return risk_of(view, took, view.offered_at + age)


def test_p95_is_the_nearest_rank_and_nothing_while_there_are_too_few() -> None:
    assert p95([MINUTE] * (ENOUGH - 1)) is None
    assert p95([n * MINUTE for n in range(1, 21)]) == 19 * MINUTE
    assert p95([n * MINUTE for n in range(100, 0, -1)]) == 95 * MINUTE


@pytest.mark.parametrize(
    ("minutes", "why"), [(0, None), (44, None), (46, "little-left"), (60, "little-left"), (61, "past-deadline")]
)
def test_with_too_few_samples_the_last_quarter_of_the_limit_is_the_risk(minutes: int, why: str | None) -> None:
    risk = after(minutes * MINUTE, [MINUTE] * (ENOUGH - 1))
    assert (risk.why, risk.p95, risk.needs) == (why, None, None)
    assert risk.left == (60 - minutes) * MINUTE


def test_a_limit_shorter_than_what_its_kind_takes_is_at_risk_from_the_offer_on() -> None:
    risk = after(timedelta(0), [2 * HOUR] * ENOUGH)
    assert (risk.why, risk.p95, risk.needs) == ("needs-longer", 2 * HOUR, 2 * HOUR)


def test_what_is_still_needed_is_asked_of_those_that_were_unanswered_at_this_age() -> None:
    quick, slow = [timedelta(seconds=1)] * 1000, [50 * MINUTE] * ENOUGH
    assert after(timedelta(0), quick + slow).needs == timedelta(seconds=1)
    assert after(10 * MINUTE, quick + slow).needs == 40 * MINUTE
    assert after(10 * MINUTE, quick + slow).why is None
    assert after(10 * MINUTE, quick + [70 * MINUTE] * ENOUGH).why == "needs-longer"


def test_one_that_outlived_nearly_all_of_its_kind_is_judged_by_its_limit() -> None:
    risk = after(50 * MINUTE, [timedelta(seconds=1)] * 1000)
    assert (risk.why, risk.p95, risk.needs) == ("little-left", timedelta(seconds=1), None)


def test_a_clock_behind_the_offer_counts_as_no_time_passed() -> None:
    assert after(-HOUR, [MINUTE] * ENOUGH).needs == MINUTE


def test_the_list_has_only_those_at_risk_the_least_time_left_first() -> None:
    view = standing(handoff_id="a")
    fine = replace(view, handoff_id="fine", deadline=view.offered_at + 9 * HOUR)
    late = replace(view, handoff_id="late", deadline=view.offered_at + MINUTE)
    other_kind = replace(view, handoff_id="crisis", kind="crisis", deadline=view.offered_at + 9 * HOUR)
    answered = replace(late, handoff_id="answered", state="accepted")
    now = view.offered_at + 50 * MINUTE
    took = {"crisis": [10 * HOUR] * ENOUGH}
    found = at_risk([view, fine, late, other_kind, answered], took, now)
    assert [(risk.handoff.handoff_id, risk.why) for risk in found] == [
        ("late", "past-deadline"), ("a", "little-left"), ("crisis", "needs-longer"),
    ]  # fmt: skip
