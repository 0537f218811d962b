"""Journeys in the making, driven by the real custody machine, for tests that read or doctor their events."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from contracts import followup, handoff, intake, matching
from contracts.custody import Recorded
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
