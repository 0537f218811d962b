"""Whatever comes again, in whatever cut, to whichever replica, cut off or at once: each (source, id) has one effect."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support import kit
from tests.support.kit import said
from tests.support.machines import Facts, Machine, run_often
from tests.support.stack import Infra

SUBJECTS = ("s-1", "s-2", "s-3")
Claim = tuple[str, str]
Content = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Brought:
    """A record, and what the model needs to know of it; an id stands for up to three contents."""

    source: str
    number: int
    variant: str = field(default="same")

    @property
    def claim(self) -> Claim:
        return self.source, str(self.number)

    @property
    def content(self) -> Content:
        moved, word = self.variant == "other subject", f"{self.source}-{self.number}"
        return SUBJECTS[(self.number + moved) % 3], f"{word}!" if self.variant == "other word" else word

    @cached_property
    def record(self) -> Any:
        subject, word = self.content
        return said(word, subject, do="open", source=self.source, id=str(self.number))

    @property
    def place(self) -> Claim:
        """Where it is parked when its id stands for something else."""
        return f"kafka:{self.record.topic}", f"{self.record.partition}-{self.record.offset}"


variants = st.sampled_from(("same", "same", "same", "same", "other word", "other subject"))
batches = st.lists(
    st.builds(Brought, st.sampled_from(("/portal", "/desk")), st.integers(1, 7), variants), min_size=1, max_size=8
)  # fmt: skip
replica = st.sampled_from((0, 1))


class Inbox(Machine):
    """The model: what each claim stands for, the words of each subject, and the places of what was other content."""

    def __init__(self, infra: Infra) -> None:
        super().__init__(infra)
        self.brought: list[Brought] = []
        self.done: dict[Claim, Content] = {}
        self.words: dict[str, list[str]] = defaultdict(list)
        self.alarms: set[Claim] = set()

    @rule(batch=batches, by=replica)
    def come(self, batch: list[Brought], by: int) -> None:
        self.brought += batch
        self._taken(batch, by)

    @precondition(lambda self: bool(self.brought))
    @rule(start=st.integers(0, 30), cuts=st.lists(st.integers(0, 6), min_size=2, max_size=4), by=replica)
    def come_again_in_another_cut(self, start: int, cuts: list[int], by: int) -> None:
        at = start % len(self.brought)
        for size in cuts:
            self._taken(self.brought[at : at + size], by)
            at += size

    def _taken(self, batch: Sequence[Brought], by: int) -> None:
        answers = self.run(self.replicas[by].handle(*(one.record for one in batch)))
        assert [(answer.outcome, answer.duplicate) for answer in answers] == [self._judged(one) for one in batch]

    def _judged(self, one: Brought) -> tuple[str, bool]:
        first = one.claim not in self.done
        if self.done.setdefault(one.claim, one.content) == one.content:
            self.words[one.content[0]] += [one.content[1]] if first else []
            return "applied", not first
        known = one.place in self.alarms
        self.alarms.add(one.place)
        return "parked", known

    @rule(batch=batches, by=replica, after=st.integers(0, 12))
    def be_taken_by_one_that_dies_and_then_by_another(self, batch: list[Brought], by: int, after: int) -> None:
        async def taken() -> None:
            dying = asyncio.create_task(self.replicas[by].take(*(one.record for one in batch)))
            await asyncio.sleep(after / 2000)
            dying.cancel()
            await asyncio.wait([dying])
            await self.replicas[1 - by].take(*(one.record for one in batch))

        self.brought += batch
        self.run(taken())
        for one in batch:
            self._judged(one)

    @rule(batch=batches, begins=st.integers(0, 8), ends=st.integers(0, 8))
    def be_taken_by_both_at_once(self, batch: list[Brought], begins: int, ends: int) -> None:
        one, other = batch[:ends], batch[min(begins, ends) :]

        async def taken() -> None:
            takes = [r.take(*(b.record for b in batch)) for r, batch in zip(self.replicas, (one, other), strict=True) if batch]
            await asyncio.gather(*takes)

        self.brought += batch
        self.run(taken())
        facts = self.facts()
        self._learn_who_won(batch, facts)
        self._learn_the_order(one, other, facts)
        self._learn_the_alarms(batch, facts)

    def _learn_who_won(self, batch: Sequence[Brought], facts: Facts) -> None:
        applied = {(subject, word) for subject, words in facts.journals.items() for word in words}
        for claim in {one.claim for one in batch} - self.done.keys():
            (self.done[claim],) = {one.content for one in batch if one.claim == claim} & applied

    def _learn_the_order(self, one: Sequence[Brought], other: Sequence[Brought], facts: Facts) -> None:
        """A subject is one batch's turn and then the other's."""
        for subject in SUBJECTS:
            before, after = self.words[subject], facts.journals.get(subject, [])
            assert after in [before + self._new(subject, turns) for turns in ((*one, *other), (*other, *one))]
            self.words[subject] = after

    def _new(self, subject: str, turns: Iterable[Brought]) -> list[str]:
        words = [b.content[1] for b in turns if b.content[0] == subject and self.done[b.claim] == b.content]
        return [word for word in dict.fromkeys(words) if word not in self.words[subject]]

    def _learn_the_alarms(self, batch: Sequence[Brought], facts: Facts) -> None:
        """A record may also be told of that won against another one of its own batch, which was decided before it."""
        certain = self.alarms | {one.place for one in batch if self.done[one.claim] != one.content}
        found = {(source, id) for _, source, _, id in facts.parked}
        assert certain <= found <= certain | {one.place for one in batch}
        self.alarms = found

    @invariant()
    def each_has_had_its_effect_once(self) -> None:
        facts = self.facts()
        assert facts.journals == {subject: words for subject, words in self.words.items() if words}
        assert all(facts.words_said(subject) == self.words[subject] for subject in SUBJECTS)
        assert facts.inbox == dict.fromkeys(self.done, "applied") | dict.fromkeys(self.alarms, "parked")
        assert sorted((source, id) for _, source, _, id in facts.parked) == sorted(self.alarms)
        assert len(facts.said[kit.PARKED_TOPIC]) == len(self.alarms)


def test_each_event_has_its_effect_once_whoever_brings_it_again(infra: Infra) -> None:
    run_often(partial(Inbox, infra), examples=25, steps=15)
