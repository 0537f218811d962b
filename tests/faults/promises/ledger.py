"""The ledger is complete: oversight shows every event of an episode, and no gap that was found stays open."""

from collections import defaultdict

from tests.faults.history import Claim, History, Said, Told
from tests.faults.verdict import Checked

from contracts.operations import GapFound
from contracts.oversight import ReconciliationFailed
from contracts.topics import OWNED


def check(history: History, told: Told) -> Checked:
    """What oversight showed of each episode asked for against what lies in Kafka."""
    checked = Checked("ledger complete")
    _gaps(checked, history)
    _reconciled(checked, history)
    said: dict[str, set[Claim]] = defaultdict(set)
    for one in history.said:
        if one.place.topic in OWNED:
            said[one.subject].add(one.claim)
    for episode, shown in told.shown.items():
        checked.items += len(said[episode])
        later = {claim for claim in said[episode] - shown if history.places[claim].envelope.time > told.as_of}
        missing = [history.places[claim] for claim in sorted(said[episode] - shown - later)]
        if missing:
            checked.broken(f"{len(missing)} events of episode {episode} are not in the ledger", missing[:3])
    if not told.shown:
        checked.skipped = "oversight was not asked"
    return checked


def unchanged(_: History, told: Told) -> Checked:
    """The ledger's own checks: indexes, leaves, tree, signatures, and what lies outside."""
    checked = Checked("ledger unchanged")
    if told.ledger is None:
        checked.skipped = "the ledger was not verified"
        return checked
    checked.items = told.ledger.entries
    for flaw in told.ledger.flaws:
        checked.broken(flaw)
    return checked


def _gaps(checked: Checked, history: History) -> None:
    open_gaps: dict[tuple[str, str, str, int, int], Said] = {}
    for one in sorted(history.all(GapFound), key=lambda one: one.envelope.sequence or 0):
        gap = one.event
        key = one.envelope.source, gap.event_source, one.subject, gap.first, gap.last
        if gap.closed:
            open_gaps.pop(key, None)
        else:
            open_gaps[key] = one
    for one in open_gaps.values():
        checked.broken(f"{one.envelope.source} misses {one.event.first}–{one.event.last} of {one.event.event_source}", [one])


def _reconciled(checked: Checked, history: History) -> None:
    """What oversight found to differ from what a service says it has said must have come right."""
    newest: dict[tuple[str, str, int], Said] = {}
    for one in sorted(history.all(ReconciliationFailed), key=lambda one: one.envelope.sequence or 0):
        newest[one.event.event_source, one.event.topic, one.event.partition] = one
    for one in newest.values():
        if not one.event.resolved:
            checked.broken(f"{one.event.topic}[{one.event.partition}] is not what was said: {one.event.problem}", [one])
