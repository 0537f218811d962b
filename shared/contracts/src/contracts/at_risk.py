"""Which handoffs may miss their deadline, judged by how long others of their kind took.

A handoff is at risk when its deadline has passed, or when less time is left than it still needs. What it still needs is the
95th percentile (nearest rank) of what those of its kind that were unanswered at its age went on to take from that age on;
for a handoff just offered that is the plain p95. Fewer than `ENOUGH` of that age say nothing: then it is at risk when less than
`SHARE` of the time it was given is left. Only answered handoffs are samples: one that ran out never said how long it needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Literal

from contracts.handoff_view import HandoffView

ENOUGH = 20
SHARE = 0.25

Why = Literal["past-deadline", "needs-longer", "little-left"]
Took = Mapping[str, Sequence[timedelta]]


@dataclass(frozen=True, slots=True)
class Risk:
    """One handoff that still stands; `why` is None when it is not at risk.

    `p95` is its kind's, from offer to answer; `needs` is what it still needs at its age. None: too few samples say.
    """

    handoff: HandoffView
    left: timedelta
    p95: timedelta | None
    needs: timedelta | None
    why: Why | None


def p95(samples: Sequence[timedelta]) -> timedelta | None:
    """The least sample that 95 of 100 do not exceed; None when there are fewer than `ENOUGH`."""
    return sorted(samples)[ceil(0.95 * len(samples)) - 1] if len(samples) >= ENOUGH else None


def risk_of(handoff: HandoffView, took: Sequence[timedelta], now: datetime) -> Risk:
    """How one handoff that stands is doing now, against what its kind took so far."""
    age = max(now - handoff.offered_at, timedelta(0))
    left = handoff.deadline - now
    needs = p95([sample - age for sample in took if sample >= age])
    return Risk(handoff, left, p95(took), needs, _why(handoff, left, needs))


def at_risk(standing: Iterable[HandoffView], took: Took, now: datetime) -> list[Risk]:
    """Those at risk now, the least time left first; `took` holds by kind what answered ones took."""
    risks = (risk_of(one, took.get(one.kind, ()), now) for one in standing if one.stands)
    return sorted((one for one in risks if one.why), key=lambda one: (one.left, one.handoff.handoff_id))


def _why(handoff: HandoffView, left: timedelta, needs: timedelta | None) -> Why | None:
    if left < timedelta(0):
        return "past-deadline"
    if needs is not None:
        return "needs-longer" if left < needs else None
    return "little-left" if left < SHARE * (handoff.deadline - handoff.offered_at) else None
