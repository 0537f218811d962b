"""Whatever is set, replaced, cancelled, raced for or cut off: each timer fires once, when it may, as it was set last."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import asyncpg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from tests.support import kit
from tests.support.kit import Journal, said
from tests.support.machines import Machine, run_often
from tests.support.stack import Infra

from contracts.topics import CLINICAL
from messaging.decision import Decision, DueTimer, Timer
from messaging.message import Answer, Received
from messaging.routes import Kept, Routes, due, on

BEGIN, NEVER, FOREVER = datetime(2026, 11, 23, tzinfo=UTC), datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
Place = tuple[str, str]
Found = tuple[Place, datetime]
SUBJECTS, NAMES = ("s-1", "s-2"), ("bell", "bell", "first", "again", "broken")
NOW = "CREATE OR REPLACE FUNCTION messaging.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$SELECT '{}'::timestamptz$$"
READ_UP_TO = """
    INSERT INTO messaging.progress (topic, part, read_up_to) VALUES ($1, $2, $3)
        ON CONFLICT (topic, part) DO UPDATE SET read_up_to = excluded.read_up_to"""
AGAIN_AFTER, HALTS_AFTER = timedelta(minutes=3), 10


@dataclass
class Standing:
    """A timer that stands."""

    due: datetime
    patience: timedelta | None
    not_before: datetime = NEVER
    attempts: int = 0


def word_of(name: str, due_at: datetime, unread: bool) -> str:
    return f"{name}@{(due_at - BEGIN).total_seconds():.0f}{'?' if unread else ''}"


def on_said(event: kit.Said, journal: Journal | None, facts: Any) -> Decision[Journal]:
    """When a timer is asked for, it is set or cancelled."""
    if event.do == "cancel":
        return Decision(journal, cancel=[event.word])
    due_at, patience = event.arg.split("|")
    limit = None if patience == "None" else timedelta(minutes=int(patience))
    return Decision(journal or Journal(), timers=[Timer(event.word, datetime.fromisoformat(due_at), limit)])


@dataclass
class Bells:
    """Handlers of timers: `first` cancels the bell, `again` sets itself again, `broken` fails until it is mended."""

    failing: bool = True

    def on_due(self, timer: DueTimer, journal: Journal, facts: Any) -> Decision[Journal]:
        if timer.name == "broken" and self.failing:
            raise LookupError("a canary")
        words = Journal((*journal.words, word_of(timer.name, timer.due, timer.backlog_unread)))
        again = [Timer("again", timer.due + AGAIN_AFTER)] if timer.name == "again" else []
        return Decision(words, timers=again, cancel=["bell"] if timer.name == "first" else [])

    @property
    def routes(self) -> Routes:
        return Routes(Kept("journal", Journal, on(kit.Said, on_said), *(due(name, self.on_due) for name in sorted({*NAMES}))))


@dataclass
class Interrupted:
    """A processor to which something happens between what was found due and its write, or right after the write."""

    real: Any
    before: Callable[[], Awaitable[None]] | None = None
    dies_after: bool = False

    async def handle(self, batch: Sequence[Received]) -> list[Answer]:
        before, self.before = self.before, None
        if before:
            await before()
        answers: list[Answer] = await self.real.handle(batch)
        if self.dies_after:
            raise asyncpg.ConnectionDoesNotExistError
        return answers


subjects, names = st.sampled_from(SUBJECTS), st.sampled_from(NAMES)
setting = st.tuples(subjects, names, st.integers(-4, 6), st.sampled_from((0, 0, 2, None)))
cancelling = st.tuples(subjects, names, st.just("cancel"), st.none())
wishes = st.lists(setting | setting | cancelling, min_size=1, max_size=4)
Wish = tuple[str, str, Any, int | None]
replica = st.sampled_from((0, 1))


class Timers(Machine):
    """The clock stands still until it is moved; no two timers are ever due at the same instant."""

    def __init__(self, infra: Infra) -> None:
        self.bells = Bells()
        super().__init__(infra, self.bells.routes)
        self.now, self.seconds = BEGIN, count(1)
        self.standing: dict[Place, Standing] = {}
        self.words: dict[str, list[str]] = {subject: [] for subject in SUBJECTS}
        self.read_up_to: dict[int, datetime] = {}
        self._move_clock()
        for one in self.replicas:
            one.workers._processor = Interrupted(one.processor)  # type: ignore[assignment]

    def _move_clock(self) -> None:
        self.run(self.owner.execute(NOW.format(self.now.isoformat())))

    @rule(minutes=st.sampled_from((0.02, 1, 1, 2, 5)))
    def wait(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)
        self._move_clock()

    @rule(part=st.sampled_from((0, 1)), minutes=st.integers(-3, 2))
    def read_on(self, part: int, minutes: int) -> None:
        at = self.now + timedelta(minutes=minutes)
        self.run(self.owner.execute(READ_UP_TO, CLINICAL, part, at))
        self.read_up_to[part] = at

    @rule(mended=st.booleans())
    def be_mended_or_broken(self, mended: bool) -> None:
        self.bells.failing = not mended

    @rule(batch=wishes, by=replica)
    def be_set_or_cancelled(self, batch: list[Wish], by: int) -> None:
        self.run(self._asked(batch, by))

    async def _asked(self, batch: list[Wish], by: int) -> None:
        await self.replicas[by].take(*(self._wished(*wish) for wish in batch))

    def _wished(self, subject: str, name: str, minutes: Any, patience: int | None) -> Any:
        """The event, and in the model what it asks for."""
        if minutes == "cancel":
            self.standing.pop((subject, name), None)
            return said(name, subject, do="cancel")
        due_at = self.now + timedelta(minutes=minutes, seconds=next(self.seconds) % 29, microseconds=next(self.seconds))
        self.standing[subject, name] = Standing(due_at, None if patience is None else timedelta(minutes=patience))
        return said(name, subject, do="timer", arg=f"{due_at.isoformat()}|{patience}")

    @rule(by=replica)
    def fire(self, by: int) -> None:
        found = self._due()
        assert self.run(self.replicas[by].workers.fire_due()) == len(found)
        self._fired(found)

    @rule()
    def be_fired_by_both_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(one.workers.fire_due() for one in self.replicas))
            while await self.replicas[0].workers.fire_due():
                pass

        failing, self.bells.failing = self.bells.failing, False
        self.run(both())
        while found := self._due():
            self._fired(found)
        self.bells.failing = failing

    @rule(by=replica, subject=subjects, name=names, batch=wishes, aimed=st.sampled_from(("cancel", 3, None)))
    def be_changed_after_they_were_found_due(self, by: int, subject: str, name: str, batch: list[Wish], aimed: Any) -> None:
        self.be_set_or_cancelled([(subject, name, -1, 0)], by)
        found = self._due()
        if aimed:
            batch = [(subject, name, aimed, None if aimed == "cancel" else 0)]
        self._between(by).before = partial(self._asked, batch, 1 - by)
        self.run(self.replicas[by].workers.fire_due())
        if not found:
            self._between(by).before = None
        self._fired([(place, at) for place, at in found if place in self.standing and self.standing[place].due == at])

    @rule(by=replica)
    def be_fired_by_another_after_they_were_found_due(self, by: int) -> None:
        async def overtaken() -> None:
            await self.replicas[1 - by].workers.fire_due()

        failing, self.bells.failing = self.bells.failing, False
        self._between(by).before = overtaken
        self.run(self.replicas[by].workers.fire_due())
        self._between(by).before = None
        self._fired(self._due())
        self.bells.failing = failing

    @rule(by=replica, written=st.booleans())
    def be_found_due_by_one_that_dies(self, by: int, written: bool) -> None:
        async def dies() -> None:
            raise asyncpg.ConnectionDoesNotExistError

        found, between = self._due(), self._between(by)
        failing, self.bells.failing = self.bells.failing, False
        between.before, between.dies_after = None if written else dies, written
        if found:
            with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                self.run(self.replicas[by].workers.fire_due())
        between.before, between.dies_after = None, False
        if written:
            self._fired(found)
        self.bells.failing = failing

    def _between(self, by: int) -> Interrupted:
        between: Any = self.replicas[by].workers._processor
        assert isinstance(between, Interrupted)
        return between

    @property
    def backlog(self) -> datetime:
        return min(self.read_up_to.values(), default=NEVER)

    def _due(self) -> list[Found]:
        due = [(place, one.due) for place, one in self.standing.items() if self._may_fire(one)]
        return sorted(due, key=lambda found: found[1])

    def _may_fire(self, one: Standing) -> bool:
        patient = one.patience is None or one.due + one.patience > self.now
        return max(one.due, one.not_before) <= self.now and (not patient or one.due <= self.backlog)

    def _fired(self, due: Sequence[Found]) -> None:
        for (subject, name), at in due:
            if (subject, name) not in self.standing:
                continue
            if name == "broken" and self.bells.failing:
                self._failed(self.standing[subject, name])
                continue
            del self.standing[subject, name]
            self.words[subject].append(word_of(name, at, at > self.backlog))
            if name == "first":
                self.standing.pop((subject, "bell"), None)
            if name == "again":
                self.standing[subject, name] = Standing(at + AGAIN_AFTER, timedelta(0))

    def _failed(self, one: Standing) -> None:
        backs_off = timedelta(seconds=2 ** min(one.attempts, 6))
        one.attempts += 1
        one.not_before = FOREVER if one.attempts >= HALTS_AFTER else self.now + backs_off

    @invariant()
    def each_has_fired_once_and_in_its_order_and_the_others_stand(self) -> None:
        facts = self.facts()
        assert {subject: facts.journals.get(subject, []) for subject in SUBJECTS} == self.words
        assert facts.timers == self.standing.keys()


def test_each_timer_fires_once_and_not_before_it_may(infra: Infra) -> None:
    run_often(partial(Timers, infra), examples=25, steps=20)
