"""What is done to a run, and when: the same for the same form and seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from tests.faults.forms import Form

from cli.stack.names import SERVICES, ProcessName, processes

Kind = Literal["kill", "freeze", "broker", "postgres", "terminate", "join", "starve", "stall", "burst", "poison"]
REPLICAS = 2
# So long an outage of PostgreSQL fills the hands of who reads.
_LONG_ENOUGH = 8.0
# So long a client of the broker tries again by itself, unless told otherwise.
_FORGIVING = 40.0
# So long after a kill or a freeze the partitions are shared again.
_REJOINED = 14.0
# So long after a kill a replica has its share of the work again, the relay's leases included.
_AT_WORK = 20.0
# So many attempts to place a fault where it does most; then anywhere.
_PICKY = 700
_APART, _SLOW_FOR, _BEFORE_IT_IS_BACK = 2.0, 6.0, 1.0
# So long it takes from a burst of referrals until its offers stand, and until these are overdue.
_TO_AN_OFFER, _PAST_DEADLINES = 1.0, 9.0
# A form with so few freezes is too short to aim any.
_FEW = 4
# So long before the database goes away nobody tells intake anything that it has to note.
_SILENT = 4.0
# Intake hears of most subjects on other partitions than it speaks of them.
_STALLING = ("intake", "matching", "intake", "followup")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """`at` seconds after the load began; `lasts` is how long it stays so."""

    at: float
    kind: Kind
    target: str = ""
    lasts: float = 0.0

    @property
    def over(self) -> float:
        return self.at + self.lasts


def plan(form: Form, seed: int) -> list[Fault]:
    """The faults of one run, by time; no process is in two of them at once."""
    rng = random.Random(seed)
    faults = [*_servers(form, rng)]
    faults += _slowed(form, rng, faults)
    _processes(form, rng, faults)
    faults += _others(form, rng)
    return sorted(faults)


def _servers(form: Form, rng: random.Random) -> Iterator[Fault]:
    """Outages of the broker, with people who go on referring over HTTP, and of PostgreSQL; the broker's longest comes last.

    In the first of several only few refer: a producer waits with the second batch of a partition, and so would who does not
    wait for what became of the first.
    """
    *outages, longest = sorted(form.outages)
    rng.shuffle(outages)
    slot = (form.seconds - sum(form.outages)) / (len(form.outages) + 1)
    # The database has been away first, and everybody is back from that.
    at = slot * 0.25 if outages else 0.0
    for number, lasts in enumerate((*outages, longest)):
        at += slot
        begins = at - min(slot, 10.0) * rng.uniform(0.0, 0.3)
        yield Fault(begins, "broker", "kafka", lasts)
        if number or not outages:
            yield Fault(begins + 0.3, "burst")
        at += lasts
    for number, lasts in enumerate(form.restarts):
        slot = form.seconds / len(form.restarts)
        how = "crash" if number % 2 == 0 else "stop"
        yield Fault(slot * (number + rng.uniform(0.15, 0.25)), "postgres", how, lasts)


def _processes(form: Form, rng: random.Random, faults: list[Fault]) -> None:
    """Every process has its turn; who sends into the last outage of the broker lives on, to see what it does afterwards.

    In a short run intake dies without a database and without a broker, and then no more.
    """
    names = processes(REPLICAS, form.roles)
    mortal = [name for name in names if len(form.outages) > 2 or not name.startswith("intake")]
    deadly, frozen = cycle(rng.sample(mortal, len(mortal))), cycle(rng.sample(names, len(names)))
    outages = [fault for fault in faults if fault.kind == "broker"]
    away = [fault for fault in faults if fault.kind == "postgres"]
    died = [kill for outage in away for kill in _without_database(outage, names)]
    faults += [each for each in died if each.kind != "kill" or not _lives_on(each, outages)]
    faults += _without_broker(outages, away, names)
    if form.freezes > _FEW:
        faults += [*_answers_unread(form, rng, [*outages, *away]), *_silence_before(form, away)]
    for _ in range(form.kills - sum(fault.kind == "kill" for fault in faults)):
        _place(form, rng, faults, "kill", next(deadly), rng.choice((0.2, 1.0, 4.0)))
    for _ in range(form.freezes - sum(fault.kind == "freeze" for fault in faults)):
        _place(form, rng, faults, "freeze", next(frozen), rng.uniform(*form.freeze_for))


def _without_database(outage: Fault, names: Sequence[str]) -> Iterator[Fault]:
    """Many referrals come while the database is away, and who holds them dies before it is back."""
    if outage.lasts < _LONG_ENOUGH:
        return
    yield Fault(outage.at + 0.1, "burst")
    for number, name in enumerate(name for name in names if name.startswith("intake") and ProcessName.of(name).consumes):
        yield Fault(outage.at + outage.lasts * 0.75 + number * 0.5, "kill", name, 0.5)


def _silence_before(form: Form, away: Sequence[Fault]) -> Iterator[Fault]:
    """Intake has nothing to note when the database goes away for long, so nothing keeps it from committing its offsets."""
    long = [outage for outage in away if outage.lasts >= _LONG_ENOUGH and outage.at > _SILENT]
    names = [name for name in processes(REPLICAS, form.roles) if name.startswith("matching") and ProcessName.of(name).relays]
    for name in names if long else ():
        yield Fault(min(long).at - _SILENT, "freeze", name, _SILENT + 2.0)


def _without_broker(outages: Sequence[Fault], away: Sequence[Fault], names: Sequence[str]) -> Iterator[Fault]:
    """What is referred over HTTP in the first short outage cannot be sent, and who has it to send dies before it is over."""
    short = [o for o in outages if o.lasts <= _FORGIVING and all(a.over < o.at or o.over < a.at for a in away)]
    if len(outages) > 1 and short:
        for name in names:
            if name.startswith("intake") and ProcessName.of(name).relays:
                yield Fault(min(short).over - _BEFORE_IT_IS_BACK, "kill", name, 0.5)


def _answers_unread(form: Form, rng: random.Random, servers: Sequence[Fault]) -> Iterator[Fault]:
    """Many offers stand when one that reads for matching freezes: answers given in time lie unread while deadlines pass."""
    names = processes(REPLICAS, form.roles)
    target = next(name for name in names if name.startswith("matching") and ProcessName.of(name).consumes)
    calm = _calm(form, servers, _PAST_DEADLINES)
    at = calm[int(len(calm) * rng.uniform(0.4, 0.6))]
    yield Fault(at - _TO_AN_OFFER, "burst")
    yield Fault(at, "freeze", target, _PAST_DEADLINES)


def _place(form: Form, rng: random.Random, faults: list[Fault], kind: Kind, target: str, lasts: float) -> None:
    outages = [fault for fault in faults if fault.kind == "broker"]
    for attempt in range(1000):
        fault = Fault(rng.uniform(3.0, form.seconds - lasts), kind, target, lasts)
        others = [o for o in faults if o.target == target or (attempt < _PICKY and _meets(o, target))]
        apart = all(o.over + _APART < fault.at or fault.over + _before(o, target) < o.at for o in others)
        if apart and not (kind == "kill" and attempt < _PICKY and _spared(fault, outages)):
            break
    faults.append(fault)


def _meets(fault: Fault, target: str) -> bool:
    """Intake is to be reading when the database goes away for long."""
    return fault.kind == "postgres" and fault.lasts >= _LONG_ENOUGH and target.startswith("intake")


def _before(fault: Fault, target: str) -> float:
    return _APART if fault.target == target else _REJOINED


def _spared(kill: Fault, outages: Sequence[Fault]) -> bool:
    """Without a broker nothing can start again; and intake and matching are to live through the last outage."""
    return _lives_on(kill, outages) or any(o.at < kill.over + _APART and kill.at < o.over for o in outages)


def _lives_on(kill: Fault, outages: Sequence[Fault]) -> bool:
    last = max(outages)
    sends = kill.target.startswith(("intake", "matching")) and last.lasts > _FORGIVING
    return sends and kill.over > last.at - _AT_WORK


def _slowed(form: Form, rng: random.Random, servers: Sequence[Fault]) -> Iterator[Fault]:
    """While both servers are there, and under a burst: connections of one process starve, a service's storage stalls."""
    names = processes(REPLICAS, form.roles)
    busy = [name for name in names if name.startswith(("intake", "matching")) and ProcessName.of(name).consumes]
    slow: list[tuple[Kind, str]] = [("starve", busy[number % len(busy)]) for number in range(form.starves)]
    slow += [("stall", _STALLING[number % len(_STALLING)]) for number in range(form.stalls)]
    calm = _calm(form, servers, _SLOW_FOR)
    for number, (kind, target) in enumerate(rng.sample(slow, len(slow))):
        at = calm[int(len(calm) * (number + rng.random()) / len(slow))]
        yield Fault(at, kind, target, _SLOW_FOR)
        yield Fault(at + 1.0, "burst")


def _calm(form: Form, servers: Sequence[Fault], lasts: float) -> Sequence[float]:
    """Instants between the outages, or any where there is no between."""
    room = form.seconds - 4.0 - lasts
    instants = [4.0 + room * step / 500 for step in range(500)]
    calm = [at for at in instants if all(fault.over + _APART < at or at + lasts < fault.at for fault in servers)]
    return calm or instants


def _others(form: Form, rng: random.Random) -> Iterator[Fault]:
    def evenly(count: int, kind: Kind, targets: Sequence[str], lasts: float = 0.0) -> Iterator[Fault]:
        slot = (form.seconds - 10.0) / max(count, 1)
        for number in range(count):
            yield Fault(3.0 + slot * (number + rng.random()), kind, rng.choice(targets), lasts)

    yield from evenly(form.terminations, "terminate", [*SERVICES, "all"])
    yield from evenly(form.joins, "join", [f"{service}-3" for service in SERVICES if service != "intake"], 8.0)
    yield from evenly(form.bursts, "burst", [""])
    yield from evenly(form.poisons, "poison", [""])
