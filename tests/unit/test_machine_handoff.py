"""Whatever is offered, answered, late, repeated or escalated: one custodian at each moment, and the events alone tell who."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from contracts import handoff as said
from contracts import intake
from contracts.custody import custody_of
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.vocabulary import Need
from messaging.decision import DueTimer
from messaging.giver import ANSWER_DUE, Giver, Step
from messaging.handoff import Custody, Handoff, Kind

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
NEED = Need(problem_area="anxiety", age_band="adult")
DESKS, RECEIVERS = ("duty-manager", "director"), ("matching", "crisis-desk", "duty-manager", "intake")
SOURCE, EPISODE = "/rapport/intake", "e-1"
words = st.sampled_from(("accepted", "declined"))


@dataclass
class Asked:
    """A handoff as the model knows it: `ended` is how, while None it stands."""

    handoff: Handoff
    ended: str | None = None


class Handoffs(RuleBasedStateMachine):
    """The model: every handoff there ever was, at most one of them standing, and the custodian."""

    def __init__(self) -> None:
        super().__init__()
        self.giver = Giver("intake", intake, DESKS, timedelta(hours=4), timedelta(minutes=2))
        self.custody, self.custodian = Custody("intake"), "intake"
        self.asked: list[Asked] = []
        self.timer_runs = False
        self.numbers, self.now = count(1), NOW
        self.events = [self._recorded(self._opened())]

    @rule(receiver=st.sampled_from(RECEIVERS), kind=st.sampled_from(("crisis", "matching", "followup")))
    def offer(self, receiver: str, kind: str) -> None:
        before = self._standing()
        step = self.giver.offer(
            self.custody, self._cause(), receiver, cast(Kind, kind), self.now + timedelta(hours=1), "treatment", NEED
        )
        if before:
            before.ended = "superseded"
        self._asks(step, receiver, attempt=1, previous=before or (self.asked[-1] if self._last_was_declined() else None))
        self._says(step, "HandoffOffered")

    @precondition(lambda self: bool(self.asked))
    @rule(which=st.integers(0, 30), word=words, by=st.sampled_from((None, None, None, *RECEIVERS)))
    def answer(self, which: int, word: str, by: str | None) -> None:
        one = self.asked[which % len(self.asked)]
        self._answered(one, word, by or one.handoff.receiver)

    @precondition(lambda self: self._standing() is not None)
    @rule(word=words)
    def be_answered_by_whom_it_stands_with(self, word: str) -> None:
        one = self._standing()
        assert one
        self._answered(one, word, one.handoff.receiver)

    @rule(word=words, by=st.sampled_from(RECEIVERS))
    def be_answered_though_nobody_offered_it(self, word: str, by: str) -> None:
        before = self.custody
        step = self._moved(self.giver.answered(before, self._answer("unknown", word, by)))
        assert (step.verdict, step.custody) == ("superseded", before)
        self._says(step, "HandoffSuperseded")

    @precondition(lambda self: self.timer_runs)
    @rule(unread=st.booleans())
    def run_out(self, unread: bool) -> None:
        one = self._standing()
        assert one, "the limit of an answer runs though nothing stands"
        timer = DueTimer(ANSWER_DUE, one.handoff.deadline, unread)
        step = self.giver.overdue(self.custody, timer, self._cause(), self.now, NEED)
        one.ended = "superseded"
        self._escalates(step, one, "HandoffOverdue", "HandoffEscalated", "HandoffOffered")

    @precondition(lambda self: self._last_was_declined())
    @rule()
    def be_escalated_after_a_decline(self) -> None:
        one = self.asked[-1]
        step = self.giver.escalate(self.custody, one.handoff, self._cause(), self.now, NEED)
        self._escalates(step, one, "HandoffEscalated", "HandoffOffered")

    def _answered(self, one: Asked, word: str, by: str) -> None:
        before, mine = self.custody, by == one.handoff.receiver
        repeats = one.ended == "accepted" and mine and self._last_accepted() is one
        step = self._moved(self.giver.answered(before, self._answer(one.handoff.id, word, by)))
        if one.ended is None and mine:
            assert step.verdict == word
            one.ended, self.timer_runs = word, False
            self.custodian = one.handoff.receiver if word == "accepted" else self.custodian
            assert step.cancel == [ANSWER_DUE]
            self._says(step, f"Handoff{word.capitalize()}")
            return
        assert (step.verdict, step.custody) == ("repeated" if repeats else "superseded", before)
        self._says(step, *([] if repeats else ["HandoffSuperseded"]))

    def _escalates(self, step: Step, one: Asked, *kinds: str) -> None:
        desk = DESKS[min(one.handoff.attempt, len(DESKS)) - 1]
        self._asks(step, desk, one.handoff.attempt + 1, previous=one)
        self._says(step, *kinds)

    def _asks(self, step: Step, receiver: str, attempt: int, previous: Asked | None) -> None:
        new = self._moved(step).custody.standing
        assert new
        assert (new.giver, new.receiver, new.attempt) == (self.custodian, receiver, attempt)
        if previous:
            assert new.previous == previous.handoff.id
        assert new.id not in {one.handoff.id for one in self.asked}
        assert [(timer.name, timer.due) for timer in step.timers] == [(ANSWER_DUE, new.deadline)]
        self.asked.append(Asked(new))
        self.timer_runs = True

    def _moved(self, step: Step) -> Step:
        self.now += timedelta(minutes=1)
        self.custody = step.custody
        self.events += [self._recorded(event) for event in step.publish]
        return step

    def _says(self, step: Step, *kinds: str) -> None:
        assert [type(event).__name__ for event in step.publish] == list(kinds)

    def _standing(self) -> Asked | None:
        standing = [one for one in self.asked if one.ended is None]
        assert len(standing) <= 1
        return standing[0] if standing else None

    def _last_was_declined(self) -> bool:
        return bool(self.asked) and self.asked[-1].ended == "declined"

    def _last_accepted(self) -> Asked | None:
        return next((one for one in reversed(self.asked) if one.ended == "accepted"), None)

    def _answer(self, handoff_id: str, word: str, by: str) -> said.HandoffAnswered:
        return said.HandoffAnswered(handoff_id=handoff_id, arbiter="intake", answer=cast(Any, word), by=by)

    def _cause(self) -> str:
        return f"c-{next(self.numbers)}"

    def _opened(self) -> intake.EpisodeOpened:
        return intake.EpisodeOpened(need=NEED, consent_basis="treatment", custodian="intake")

    def _recorded(self, event: Event) -> tuple[Envelope, Event]:
        number = next(self.numbers)
        envelope = Envelope(id=f"e-{number}", source=SOURCE, type=event.type, subject=EPISODE, time=self.now, sequence=number)
        return envelope, event

    @invariant()
    def there_is_one_custodian_and_the_events_say_who(self) -> None:
        chain = custody_of(self.events)
        assert self.custody.custodian == self.custodian == chain.custodian
        assert chain.stray == ()

    @invariant()
    def one_handoff_stands_or_none_and_every_other_is_closed(self) -> None:
        one = self._standing()
        assert self.custody.standing == (one.handoff if one else None)
        assert list(self.custody.closed) == [asked.handoff.id for asked in self.asked if asked.ended]
        assert self.timer_runs == (one is not None)


def test_each_episode_has_one_custodian_whatever_becomes_of_its_handoffs() -> None:
    run_state_machine_as_test(
        Handoffs, settings=settings(max_examples=100, stateful_step_count=30, deadline=None, derandomize=True)
    )
