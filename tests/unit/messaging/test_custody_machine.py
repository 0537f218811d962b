"""The machine of every handoff, as values: who is custodian, which handoff stands, and what an answer is worth."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts import handoff as said
from contracts import intake
from contracts.vocabulary import Need
from messaging.decision import DueTimer, Timer
from messaging.giver import ANSWER_DUE, Giver, Step
from messaging.handoff import Custody

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
NEED = Need(problem_area="anxiety", age_band="adult")
GIVER = Giver("intake", intake, ("duty-manager", "director"), timedelta(hours=4), timedelta(minutes=2))


def offered(custody: Custody | None = None, cause: str = "c-1", receiver: str = "matching") -> Step:
    return GIVER.offer(custody or Custody("intake"), cause, receiver, "matching", NOW, "treatment", NEED)


def answer(step: Step, word: str = "accepted", by: str = "matching", handoff_id: str | None = None) -> said.HandoffAnswered:
    standing = step.custody.standing
    return said.HandoffAnswered(
        handoff_id=handoff_id or (standing.id if standing else ""), arbiter="intake", answer=word, by=by
    )  # fmt: skip


def kinds(step: Step) -> list[str]:
    return [type(event).__name__ for event in step.publish]


def test_an_offer_leaves_the_custodian_and_sets_the_limit_of_its_answer() -> None:
    step = offered()
    assert step.custody.custodian == "intake"
    assert step.custody.standing
    assert (step.custody.standing.giver, step.custody.standing.attempt, step.custody.standing.previous) == ("intake", 1, None)
    assert (kinds(step), step.timers) == (["HandoffOffered"], [Timer(ANSWER_DUE, NOW, timedelta(minutes=2))])


def test_the_same_cause_is_the_same_handoff_and_another_cause_receiver_or_attempt_is_another() -> None:
    def handoff(cause: str = "c", receiver: str = "r", attempt: int = 1) -> str:
        standing = Custody("g").offering(cause, receiver, "crisis", NOW, "b", attempt).standing
        assert standing
        return standing.id

    assert handoff() == handoff()
    assert len({handoff(), handoff(cause="d"), handoff(receiver="s"), handoff(attempt=2)}) == 4


def test_an_offer_over_a_standing_one_closes_it_and_names_it_as_its_predecessor() -> None:
    first = offered()
    second = offered(first.custody, cause="c-2", receiver="crisis-desk")
    assert first.custody.standing
    assert second.custody.standing
    assert second.custody.standing.previous == first.custody.standing.id
    assert second.custody.judge(first.custody.standing.id) == "superseded"


def test_only_the_arbiters_acceptance_moves_the_custodian() -> None:
    step = offered()
    accepted = GIVER.answered(step.custody, answer(step))
    assert (accepted.verdict, accepted.custody.custodian, accepted.custody.standing) == ("accepted", "matching", None)
    assert (kinds(accepted), accepted.cancel) == (["HandoffAccepted"], [ANSWER_DUE])


def test_after_a_decline_the_giver_is_custodian_and_nothing_stands() -> None:
    step = offered()
    declined = GIVER.answered(step.custody, answer(step, "declined"))
    assert (declined.verdict, declined.custody.custodian, declined.custody.standing) == ("declined", "intake", None)
    assert (kinds(declined), declined.cancel) == (["HandoffDeclined"], [ANSWER_DUE])
    assert declined.publish[0].model_dump()["reason"] == "unspecified"


def test_an_acceptance_said_twice_by_its_receiver_is_a_repetition_and_changes_nothing() -> None:
    step = offered()
    accepted = GIVER.answered(step.custody, answer(step))
    again = GIVER.answered(accepted.custody, answer(step))
    assert (again.verdict, again.custody, again.publish) == ("repeated", accepted.custody, [])


@pytest.mark.parametrize(("by", "handoff_id"), [("somebody-else", None), ("matching", "another")])
def test_who_was_not_asked_or_answers_what_does_not_stand_stands_down(by: str, handoff_id: str | None) -> None:
    step = offered()
    late = GIVER.answered(step.custody, answer(step, by=by, handoff_id=handoff_id))
    assert (late.verdict, late.custody, kinds(late)) == ("superseded", step.custody, ["HandoffSuperseded"])
    assert step.custody.standing
    assert late.publish[0].model_dump()["current"] == step.custody.standing.id


def test_an_acceptance_of_an_earlier_attempt_after_the_escalation_is_superseded() -> None:
    step = offered()
    overdue = GIVER.overdue(step.custody, DueTimer(ANSWER_DUE, NOW), "t-1", NOW, NEED)
    late = GIVER.answered(overdue.custody, answer(step))
    assert (late.verdict, late.custody.custodian) == ("superseded", "intake")


def test_escalations_go_through_the_named_desks_and_then_again_to_the_last() -> None:
    custody, asked = offered().custody, []
    for turn in range(4):
        step = GIVER.overdue(custody, DueTimer(ANSWER_DUE, NOW, backlog_unread=turn == 0), f"t-{turn}", NOW, NEED)
        custody = step.custody
        assert kinds(step) == ["HandoffOverdue", "HandoffEscalated", "HandoffOffered"]
        assert step.publish[0].model_dump()["backlog_unread"] == (turn == 0)
        assert custody.standing
        asked.append((custody.standing.receiver, custody.standing.attempt, custody.standing.deadline))
        assert step.publish[1].model_dump()["next_handoff_id"] == custody.standing.id
    desks = ["duty-manager", "director", "director", "director"]
    assert asked == [(desk, n, NOW + timedelta(hours=4)) for n, desk in enumerate(desks, 2)]
    assert custody.custodian == "intake"
    assert len(custody.closed) == len(set(custody.closed)) == 4


def test_what_does_not_stand_can_be_neither_accepted_nor_overdue() -> None:
    with pytest.raises(ValueError, match="no handoff stands"):
        Custody("intake").accepting()
    with pytest.raises(ValueError, match="no handoff stands"):
        GIVER.overdue(Custody("intake"), DueTimer(ANSWER_DUE, NOW), "t", NOW, NEED)


def test_an_unknown_handoff_is_unknown_and_an_accepted_one_is_repeated() -> None:
    accepted = Custody("intake").offering("c", "matching", "matching", NOW, "b").accepting()
    assert accepted.last_accepted
    assert accepted.judge(accepted.last_accepted.id) == "repeated"
    assert (accepted.judge("other"), replace(accepted, closed=("other",)).judge("other")) == ("unknown", "superseded")
