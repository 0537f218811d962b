"""Nothing is parked that nobody poisoned, and every poison is accounted for."""

from collections import defaultdict

from tests.faults.history import History, Place, Poison, Said, Told
from tests.faults.verdict import Checked

from contracts.parked import RecordParked


def check(history: History, told: Told) -> Checked:
    """Each poison parked, refused or taken as it should be, by exactly who reads it."""
    checked = Checked("nothing parked unexplained")
    parked: dict[Place, dict[str, Said]] = defaultdict(dict)
    for one in history.all(RecordParked):
        parked[place_of(one)][one.place.topic.partition(".")[0]] = one
    poisoned = {place for mark in told.poison for place in history.marked.get(mark, ())}
    for place in parked.keys() - poisoned:
        said = list(parked[place].values())
        checked.broken(f"{place} was parked: {_why(said[0])}", said)
    checked.items = len(parked) + len(told.poison)
    for mark, poison in told.poison.items():
        _account(checked, history, mark, poison, parked)
    return checked


def place_of(parked: Said) -> Place:
    """Where the record lies that this one says was parked."""
    return Place(parked.event.topic, parked.event.partition, parked.event.offset)


def _account(checked: Checked, history: History, mark: str, poison: Poison, parked: dict[Place, dict[str, Said]]) -> None:
    places = history.marked.get(mark, [])
    by = {service: said for place in places for service, said in parked.get(place, {}).items()}
    if by.keys() != poison.parked_by:
        who = ", ".join(f"{service} ({_why(by[service])})" for service in sorted(by)) or "nobody"
        should = ", ".join(sorted(poison.parked_by)) or "nobody"
        where = ", ".join(map(str, places)) or "nowhere"
        checked.broken(f"poison {mark} at {where} was parked by {who}, not by {should}", by.values())
    if poison.answered:
        kind, cause = poison.answered
        if not any(one.envelope.causationid == cause for one in history.all(kind)):
            checked.broken(f"poison {mark} was not answered by {kind.__name__}", map(str, places))


def _why(parked: Said) -> str:
    return f"{parked.event.reason} {parked.event.path or ''}".rstrip()
