"""Custody read from events: every legal journey is clean in every order, and each kind of doctoring is named."""

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import followup, handoff, intake, matching
from contracts.custody import Recorded, custody_of
from contracts.custody_check import Finding, check
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.vocabulary import Answer, Need
from messaging.decision import DueTimer
from messaging.giver import ANSWER_DUE, Giver, Step
from messaging.handoff import Custody, Handoff, Kind

EPISODE = "5f0c2c5e-5c53-5d6e-9d0c-3c0f7a1d2b11"
START = datetime(2026, 11, 23, 9, tzinfo=UTC)
NEED = Need(problem_area="anxiety", age_band="adult")
DAY = timedelta(days=1)


@dataclass
class Arbiter:
    """One service's side of the journey, driven by the real custody machine."""

    journey: "Journey"
    giver: Giver
    custody: Custody

    def offer(self, receiver: str, kind: Kind = "matching") -> Handoff:
        due = self.journey.now + timedelta(hours=1)
        return self.take(self.giver.offer(self.custody, self.journey.cause(), receiver, kind, due, "treatment", NEED))

    def accept(self) -> None:
        self.answer("accepted")

    def decline_and_escalate(self) -> Handoff:
        declined = self.standing()
        self.answer("declined")
        cause, now = self.journey.cause(), self.journey.now
        return self.take(self.giver.escalate(self.custody, declined, cause, now, NEED))

    def overdue(self) -> Handoff:
        self.journey.now = self.standing().deadline + timedelta(seconds=1)
        timer = DueTimer(ANSWER_DUE, self.standing().deadline)
        return self.take(self.giver.overdue(self.custody, timer, self.journey.cause(), self.journey.now, NEED))

    def answer(self, word: Answer, to: Handoff | None = None) -> None:
        asked = to or self.standing()
        answer = handoff.HandoffAnswered(handoff_id=asked.id, arbiter=self.giver.arbiter, answer=word, by=asked.receiver)
        if asked.receiver in ("matching", "followup"):
            says = {"matching": matching, "followup": followup}[asked.receiver]
            self.journey.say(asked.receiver, says.HandoffAnswered(**answer.model_dump()))
        self._say(self.giver.answered(self.custody, answer))

    def take(self, step: Step) -> Handoff:
        self._say(step)
        return self.standing()

    def standing(self) -> Handoff:
        assert self.custody.standing
        return self.custody.standing

    def _say(self, step: Step) -> None:
        self.custody = step.custody
        for event in step.publish:
            self.journey.say(self.giver.arbiter, event)


@dataclass
class Journey:
    """A history in the making; every service counts its own sequence and has its own clock."""

    now: datetime = START
    events: list[Recorded] = field(default_factory=list)
    skew: dict[str, timedelta] = field(default_factory=dict)

    def say(self, service: str, event: Event) -> None:
        self.now += timedelta(seconds=1)
        source = f"/rapport/{service}"
        sequence = 1 + sum(envelope.source == source for envelope, _ in self.events)
        at = self.now + self.skew.get(service, timedelta(0))
        self.events.append(
            (Envelope(id=self.cause(), source=source, type=event.type, time=at, subject=EPISODE, sequence=sequence), event)
        )

    def cause(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{len(self.events)}-{self.now}"))

    def intake(self) -> Arbiter:
        self.say("intake", intake.EpisodeOpened(need=NEED, consent_basis="treatment", custodian="intake"))
        desks = ("duty-manager", "crisis-desk")
        return Arbiter(self, Giver("intake", intake, desks, timedelta(hours=1)), Custody("intake"))

    def matching(self) -> Arbiter:
        return Arbiter(self, Giver("matching", matching, ("care-lead",), timedelta(hours=1)), Custody("matching"))

    def findings(self, without: Callable[[Event], bool] = lambda _: False, **late: timedelta) -> list[Finding]:
        kept = [(envelope, event) for envelope, event in self.events if not without(event)]
        as_of = max(envelope.time for envelope, _ in self.events) + late.get("after", timedelta(0))
        return check({EPISODE: kept}, as_of, late.get("grace", timedelta(0)))

    def codes(self, without: Callable[[Event], bool] = lambda _: False, **late: timedelta) -> list[str]:
        return [finding.code for finding in self.findings(without, **late) if not finding.pending]


def whole_journey() -> Journey:
    """Opened, handed to matching and on to followup, each accepted."""
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.accept()
    second = journey.matching()
    second.offer("followup", "followup")
    second.accept()
    journey.say("followup", plan())
    return journey


def plan() -> Event:
    return followup.PlanActivated(plan_id="p", therapist_id="t", urgency="routine", first_session_due=START + 7 * DAY)


def is_acceptance_of(receiver: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, handoff.HandoffAccepted) and event.receiver == receiver


def custodians(events: Sequence[Recorded]) -> list[str]:
    return [tenure.custodian for tenure in custody_of(events).tenures]


def test_a_whole_journey_has_one_custodian_after_the_other() -> None:
    journey = whole_journey()
    assert custodians(journey.events) == ["intake", "matching", "followup"]
    assert journey.findings() == []


def test_an_escalated_handoff_makes_a_desk_the_giver_of_the_next_one() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    arbiter.accept()
    arbiter.offer("matching")
    arbiter.accept()
    assert custodians(journey.events) == ["intake", "duty-manager", "matching"]
    assert journey.findings() == []


def test_a_late_answer_that_was_superseded_moves_nobody() -> None:
    journey = Journey()
    arbiter = journey.intake()
    first = arbiter.offer("matching")
    arbiter.overdue()
    arbiter.answer("accepted", to=first)
    assert custodians(journey.events) == ["intake"]
    assert journey.findings() == []


def test_a_decline_that_was_escalated_leaves_nothing_lying() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("crisis-desk", "crisis")
    arbiter.decline_and_escalate()
    arbiter.accept()
    assert custodians(journey.events) == ["intake", "duty-manager"]
    assert journey.findings() == []


@given(st.data())
def test_every_order_of_any_legal_journey_reads_the_same(data: st.DataObject) -> None:
    journey = any_journey(data)
    shuffled = list(journey.events)
    random.Random(data.draw(st.integers())).shuffle(shuffled)
    repeated = shuffled + shuffled[: len(shuffled) // 2]
    assert custody_of(repeated) == custody_of(journey.events)
    assert check({EPISODE: repeated}, journey.now) == journey.findings() == []


@given(st.data())
def test_every_removed_acceptance_is_found_whatever_the_journey(data: st.DataObject) -> None:
    journey = any_journey(data)
    accepted = [event for _, event in journey.events if isinstance(event, handoff.HandoffAccepted)]
    gone = data.draw(st.sampled_from(accepted))
    assert journey.codes(lambda event: event is gone, after=DAY) != []


@given(st.data())
def test_every_acceptance_said_twice_is_found_whatever_the_journey(data: st.DataObject) -> None:
    journey = any_journey(data)
    twice = data.draw(st.sampled_from([r for r in journey.events if isinstance(r[1], handoff.HandoffAccepted)]))
    journey.events.append((replace(twice[0], id="another", sequence=99), twice[1]))
    assert journey.codes() == ["two"]


def any_journey(data: st.DataObject) -> Journey:
    """Both arbiters hand on until matching and then followup holds the episode, with clocks that disagree by hours."""
    skews = st.timedeltas(min_value=timedelta(hours=-5), max_value=timedelta(hours=5))
    journey = Journey(skew={service: data.draw(skews) for service in ("matching", "followup")})
    hand_on(data, journey.intake(), "matching", "matching")
    hand_on(data, journey.matching(), "followup", "followup")
    return journey


def hand_on(data: st.DataObject, arbiter: Arbiter, receiver: str, kind: Kind) -> None:
    arbiter.offer(receiver, kind)
    for move in data.draw(st.lists(st.sampled_from(["overdue", "decline", "late-answer"]), max_size=3)):
        asked = arbiter.standing()
        if move == "decline":
            arbiter.decline_and_escalate()
            continue
        arbiter.overdue()
        if move == "late-answer":
            arbiter.answer("accepted", to=asked)
    arbiter.accept()
    if arbiter.custody.custodian != receiver:
        arbiter.offer(receiver, kind)
        arbiter.accept()


def test_an_acceptance_removed_in_the_middle_leaves_a_giver_who_never_held_the_episode() -> None:
    findings = whole_journey().findings(is_acceptance_of("matching"))
    assert {(finding.code, finding.episode) for finding in findings} == {("not-custodian", EPISODE), ("unconfirmed", EPISODE)}


def test_the_last_acceptance_removed_leaves_an_answer_unconfirmed() -> None:
    assert whole_journey().codes(is_acceptance_of("followup")) == ["unconfirmed"]


def test_an_answer_that_is_a_moment_old_is_pending_while_grace_lasts() -> None:
    journey = whole_journey()
    gone = is_acceptance_of("followup")
    minute = timedelta(minutes=1)
    assert [finding.pending for finding in journey.findings(gone, grace=minute)] == [True]
    assert journey.codes(gone, grace=minute, after=2 * minute) == ["unconfirmed"]


def test_two_acceptances_from_one_giver_are_two_custodians_and_never_pending() -> None:
    journey = Journey()
    arbiter = journey.intake()
    before = arbiter.custody
    arbiter.offer("matching")
    arbiter.accept()
    arbiter.custody = before
    arbiter.offer("crisis-desk", "crisis")
    arbiter.accept()
    assert journey.codes(grace=DAY) == ["two"]


def test_an_episode_opened_twice_has_two_custodians() -> None:
    journey = whole_journey()
    journey.intake()
    assert journey.codes() == ["two"]


def test_an_episode_that_was_never_opened_has_no_custodian() -> None:
    assert "none" in whole_journey().codes(lambda event: isinstance(event, intake.EpisodeOpened))


def test_an_acceptance_of_what_was_never_offered_is_named() -> None:
    assert whole_journey().codes(lambda event: isinstance(event, intake.HandoffOffered)) == ["never-offered"]


def test_an_acceptance_by_somebody_else_than_was_asked_is_named() -> None:
    journey = Journey()
    asked = journey.intake().offer("crisis-desk", "crisis")
    journey.say("intake", intake.HandoffAccepted(handoff_id=asked.id, giver="intake", receiver="followup", attempt=1))
    assert journey.codes() == ["never-offered"]


def test_an_acceptance_confirmed_after_its_handoff_was_overdue_is_named() -> None:
    journey = Journey()
    arbiter = journey.intake()
    asked = arbiter.offer("crisis-desk", "crisis")
    arbiter.overdue()
    journey.say("intake", intake.HandoffAccepted(handoff_id=asked.id, giver="intake", receiver="crisis-desk", attempt=1))
    assert journey.codes() == ["accepted-after-close"]


def never_escalated() -> Journey:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    arbiter.accept()
    return journey


@pytest.mark.parametrize("kinds", [
    (handoff.HandoffOverdue, handoff.HandoffEscalated),
    (handoff.HandoffOverdue,),
])  # fmt: skip
def test_a_handoff_that_passed_its_deadline_in_silence_is_named(kinds: tuple[type[Event], ...]) -> None:
    assert never_escalated().codes(lambda event: isinstance(event, kinds)) == ["never-escalated"]


def test_a_handoff_that_was_never_escalated_at_all_is_named() -> None:
    journey = Journey()
    journey.intake().offer("matching")
    assert journey.codes() == []
    assert journey.codes(after=timedelta(hours=2)) == ["never-escalated"]
    assert journey.codes(after=timedelta(hours=2), grace=DAY) == []


def test_an_overdue_handoff_without_escalation_is_named() -> None:
    journey = never_escalated()
    assert journey.codes(lambda event: isinstance(event, handoff.HandoffEscalated)) == ["overdue-not-escalated"]


def test_an_escalation_whose_next_attempt_was_never_offered_is_named() -> None:
    journey = Journey()
    arbiter = journey.intake()
    arbiter.offer("matching")
    arbiter.overdue()
    assert journey.codes(is_second_attempt) == ["escalated-to-nobody"]


def is_second_attempt(event: Event) -> bool:
    return isinstance(event, handoff.HandoffOffered) and event.attempt == 2


def test_a_decline_after_which_nobody_was_asked_is_named_unless_the_client_waits() -> None:
    journey = Journey()
    arbiter = journey.matching()
    journey.say("intake", intake.EpisodeOpened(need=NEED, consent_basis="treatment", custodian="matching"))
    arbiter.offer("followup", "followup")
    arbiter.answer("declined")
    assert journey.codes() == ["declined-and-left"]
    journey.say("matching", matching.WaitingStarted(reason="no-place"))
    assert journey.codes() == []
