"""Who was custodian at which instant, read from the events of one episode in any order, along the chain of `custody`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from contracts.custody import Recorded, custody_of


@dataclass(frozen=True, slots=True)
class Term:
    """One custodian's time, from `begins` on and before `ends`; the last one has no end.

    `begins` is the greatest of the times along the chain up to this acceptance, so terms touch each other and never overlap,
    whatever the clocks of two arbiters say; a term that ends as it begins was shorter than the clocks can tell. `said_at` is
    the time of the acceptance by its own arbiter's clock.
    """

    custodian: str
    begins: datetime
    ends: datetime | None
    said_at: datetime
    event_id: str
    handoff_id: str | None


def terms_of(events: Iterable[Recorded]) -> tuple[Term, ...]:
    """Every custodian of one episode, first to last; the same for every order of the events."""
    tenures = custody_of(events).tenures
    begins = [max(before.since for before in tenures[: place + 1]) for place in range(len(tenures))]
    return tuple(
        Term(tenure.custodian, begin, end, tenure.since, tenure.event_id, tenure.handoff_id)
        for tenure, begin, end in zip(tenures, begins, [*begins[1:], None], strict=False)
    )


def custodian_at(events: Iterable[Recorded], instant: datetime) -> str | None:
    """Who was accountable at this instant: the last along the chain whose term had begun; None before the first one.

    So from the opening on there is exactly one at every instant, and a later instant never finds an earlier link. All events
    that are known are given: one that bears a later time may tell that an earlier acceptance counts for nothing.
    """
    begun = [term.custodian for term in terms_of(events) if term.begins <= instant]
    return begun[-1] if begun else None


def by_then(events: Iterable[Recorded], instant: datetime) -> list[Recorded]:
    """What had happened at this instant, each event by its own time."""
    return [recorded for recorded in events if recorded[0].time <= instant]
