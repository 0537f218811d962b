"""Numbers without gaps, first occurrences in their order, and effects in the order of their causes."""

from collections import defaultdict

from tests.faults.history import History, Said, Told
from tests.faults.promises.effects import DIRECT
from tests.faults.verdict import Checked

from contracts.topics import OWNED

Lane = tuple[str, str, str]


def contiguous(history: History, told: Told) -> Checked:
    """Per source and subject the numbers are 1, 2, 3, … and each is there once."""
    checked = Checked("sequences contiguous")
    lanes: dict[Lane, list[Said]] = defaultdict(list)
    for one in history.ours():
        lanes[_lane(one)].append(one)
    for lane, said in lanes.items():
        said.sort(key=lambda one: one.envelope.sequence or 0)
        checked.items += len(said)
        numbers = [one.envelope.sequence or 0 for one in said]
        if numbers != list(range(1, len(said) + 1)):
            _explain(checked, lane, said)
    return checked


def _explain(checked: Checked, lane: Lane, said: list[Said]) -> None:
    expected = 1
    for one in said:
        number = one.envelope.sequence or 0
        if number > expected:
            checked.broken(f"number {expected} of {lane[1]} about {lane[2]} is missing", [f"next is {one}"])
        if number < expected:
            checked.broken(f"number {number} of {lane[1]} about {lane[2]} was given twice", [s for s in said if _is(s, number)])
        expected = number + 1


def _is(one: Said, number: int) -> bool:
    return one.envelope.sequence == number


def kept(history: History, told: Told) -> Checked:
    """First occurrences ascend per source and subject, and what a lane caused follows the lane's order."""
    checked = Checked("order kept")
    newest: dict[Lane, Said] = {}
    for one in history.ours():
        checked.items += 1
        before = newest.get(_lane(one))
        if before and (before.envelope.sequence or 0) > (one.envelope.sequence or 0):
            checked.broken("a later event came first", (before, one))
        else:
            newest[_lane(one)] = one
    _effects(checked, history)
    return checked


def _effects(checked: Checked, history: History) -> None:
    """Within one service and subject, effects of one lane stand in the order in which their causes were said."""
    sources = {claim[1]: claim for claim in history.places}
    newest: dict[tuple[str, str, str, str], tuple[Said, Said]] = {}
    direct = sorted(history.all(*DIRECT), key=lambda one: (one.envelope.source, one.subject, one.envelope.sequence or 0))
    for effect in direct:
        cause = history.places.get(sources.get(effect.envelope.causationid or "", ("", "")))
        if cause is None:
            continue
        lane = (effect.envelope.source, effect.subject, cause.envelope.source, cause.subject)
        checked.items += 1
        before = newest.get(lane)
        if before and before[1].place[:2] == cause.place[:2] and before[1].place.offset > cause.place.offset:
            checked.broken("effects are not in the order of their causes", (*before, effect, cause))
        newest[lane] = effect, cause


def _lane(one: Said) -> Lane:
    return one.place.topic if one.place.topic not in OWNED else "", one.envelope.source, one.subject
