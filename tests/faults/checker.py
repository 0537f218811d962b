"""Every promise, checked on a history and on nothing else: a pure function that knows neither the run nor the code."""

from collections.abc import Callable, Sequence

from tests.faults.history import History, Told
from tests.faults.promises import capacity, effects, heard, journeys, ledger, order, parked, positions, timers
from tests.faults.verdict import Checked

PROMISES: Sequence[Callable[[History, Told], Checked]] = (
    journeys.ended, heard.check, effects.check, order.contiguous, order.kept, capacity.check, journeys.custody, parked.check,
    positions.check, ledger.check, ledger.unchanged, timers.check,
)  # fmt: skip


def check(history: History, told: Told) -> list[Checked]:
    """One entry per promise, in the order in which a person reads them."""
    return [promise(history, told) for promise in PROMISES]


def certain(history: History, told: Told) -> list[Checked]:
    """What is wrong already in the middle of a history, whatever comes after."""
    return [effects.check(history, told), order.kept(history, told)]
