"""What fails or comes early holds its own lane and no other, and leaves it in order, whatever operators and workers do."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support import kit
from tests.support.kit import said
from tests.support.machines import Machine, run_often
from tests.support.operators import Mending, act
from tests.support.stack import Infra

from messaging.aside import NotPossible
from messaging.parking import SET_ASIDE

SOURCES, SUBJECTS = ("/portal", "/desk"), ("s-1", "s-2")
Lane = tuple[str, str]


class Mended(Mending):
    """What it failed on opens its journal, once this is mended."""

    def on_said(self, event: kit.Said, state: Any, facts: Any) -> Any:
        opens = event.do == "raise" and not self.failing
        return kit.on_said(event.model_copy(update={"do": "open"}) if opens else event, state, facts)


@dataclass(eq=False)
class Item:
    """An event in its lane; `outcome` is how its claim stands."""

    lane: Lane
    word: str
    do: str
    record: Any
    outcome: str = "waiting"


@dataclass
class Kept:
    """The model of a subject: whether it is known, the words of each source, and what each lane holds."""

    known: bool = False
    words: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lanes: dict[str, list[Item]] = field(default_factory=lambda: defaultdict(list))


event = st.tuples(
    st.sampled_from(SUBJECTS), st.sampled_from(SOURCES), st.sampled_from(("write", "write", "open", "raise", "refuse"))
)
events = st.lists(event, min_size=1, max_size=5)
replica = st.sampled_from((0, 1))


class Parking(Machine):
    """The kit's own wake-ups are all there is: nobody makes anything due that the kit has not."""

    def __init__(self, infra: Infra) -> None:
        self.mending, self.numbers = Mended(), count(1)
        super().__init__(infra, self.mending.routes)
        self.kept = {subject: Kept() for subject in SUBJECTS}
        self.items: list[Item] = []
        self.broken = 0

    @rule(batch=events, by=replica, with_broken=st.booleans())
    def come(self, batch: list[tuple[str, str, str]], by: int, with_broken: bool) -> None:
        items = [self._item(*one) for one in batch]
        unreadable = [kit.broken()] if with_broken else []
        self.broken += len(unreadable)
        self.run(self.replicas[by].take(*unreadable, *(item.record for item in items)))
        for item in items:
            self._arrives(item)

    @precondition(lambda self: bool(self.items))
    @rule(start=st.integers(0, 30), by=replica)
    def come_again(self, start: int, by: int) -> None:
        again = self.items[start % len(self.items) :][:4]
        self.run(self.replicas[by].take(*(item.record for item in again)))

    @rule(mended=st.booleans())
    def be_mended_or_broken(self, mended: bool) -> None:
        self.mending.failing = not mended

    @rule(by=replica)
    def look(self, by: int) -> None:
        self.run(self._looked(by))
        self._fixpoint()

    @rule()
    def look_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(replica.workers.look_again() for replica in self.replicas))
            await self._looked(0)

        self.run(both())
        self._fixpoint()

    async def _looked(self, by: int) -> None:
        """Who moves a subject may wake another lane, which the next turn looks at."""
        for _ in range(10):
            if not await self.replicas[by].workers.look_again():
                return
        raise AssertionError("it never ends")

    @precondition(lambda self: bool(self._set_aside()))
    @rule(which=st.integers(0, 30), by=replica)
    def retry(self, which: int, by: int) -> None:
        item = self._set_aside()[which % len(self._set_aside())]
        doing = act(self.replicas[by], "retry", self._row(item))
        if self._lane(item)[0] is item:
            self.run(doing)
            item.outcome = "waiting"
            return
        with pytest.raises(NotPossible, match="not-at-head"):
            self.run(doing)

    @precondition(lambda self: bool(self._set_aside()))
    @rule(which=st.integers(0, 30), by=replica)
    def discard(self, which: int, by: int) -> None:
        item = self._set_aside()[which % len(self._set_aside())]
        self.run(act(self.replicas[by], "discard", self._row(item)))
        self._lane(item).remove(item)
        item.outcome = "discarded"

    def _item(self, subject: str, source: str, do: str) -> Item:
        word = f"{source}{next(self.numbers)}"
        self.items.append(Item((subject, source), word, do, said(word, subject, do=do, source=source, id=word)))
        return self.items[-1]

    def _lane(self, item: Item) -> list[Item]:
        return self.kept[item.lane[0]].lanes[item.lane[1]]

    def _set_aside(self) -> list[Item]:
        return [item for item in self.items if item.outcome in SET_ASIDE]

    def _row(self, item: Item) -> int:
        number: int = self.run(self.owner.fetchval("SELECT n FROM messaging.parked WHERE id = $1", item.word))
        return number

    def _arrives(self, item: Item) -> None:
        lane = self._lane(item)
        if lane or not self._tried(item):
            lane.append(item)

    def _tried(self, item: Item) -> bool:
        """Whether it is done with; one that fails is parked, and an early one waits."""
        kept = self.kept[item.lane[0]]
        if item.do == "raise" and self.mending.failing:
            item.outcome = "parked"
        elif not kept.known and item.do not in ("open", "raise"):
            item.outcome = "waiting"
        else:
            item.outcome = "refused" if item.do == "refuse" else "applied"
            kept.known = True
            kept.words[item.lane[1]] += [item.word] if item.outcome == "applied" else []
        return item.outcome not in SET_ASIDE

    def _fixpoint(self) -> None:
        """Every lane goes on as far as it can, and so again when that made a subject known."""
        moved = True
        while moved:
            moved = False
            for lane in (lane for kept in self.kept.values() for lane in kept.lanes.values()):
                while lane and lane[0].outcome == "waiting" and self._tried(lane[0]):
                    lane.pop(0)
                    moved = True

    @invariant()
    def each_lane_is_in_order_and_holds_no_other(self) -> None:
        facts = self.facts()
        for subject, kept in self.kept.items():
            journal = facts.journals.get(subject, [])
            assert {source: [w for w in journal if w.startswith(source)] for source in SOURCES} == {
                source: kept.words[source] for source in SOURCES
            }
            assert [word for word in facts.words_said(subject) if word in journal] == journal
            assert facts.blocked.get(subject, set()) == {source for source, lane in kept.lanes.items() if lane}

    @invariant()
    def what_is_set_aside_is_there_in_the_order_of_its_lane(self) -> None:
        facts = self.facts()
        for subject, kept in self.kept.items():
            for source in SOURCES:
                held = [(outcome, id) for outcome, *lane, id in facts.parked if lane == [source, subject]]
                assert held == [(item.outcome, item.word) for item in kept.lanes[source]]
        assert len([row for row in facts.parked if row[2] is None]) == self.broken
        claims = {(item.lane[1], item.word): item.outcome for item in self.items}
        assert {claim: facts.inbox[claim] for claim in claims} == claims


def test_each_lane_stays_in_order_and_holds_no_other(infra: Infra) -> None:
    run_often(partial(Parking, infra), examples=25, steps=20)
