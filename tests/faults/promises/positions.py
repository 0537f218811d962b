"""Outboxes drained: what each service says it said is what lies in Kafka, and all of it is covered."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from tests.faults.history import History, Said, Told
from tests.faults.verdict import Checked

from contracts.operations import OutboxPosition, ShardPosition
from contracts.topics import OWNED

Shard = tuple[str, int]
# What was said this shortly before the end is in no position yet.
_ON_ITS_WAY = timedelta(seconds=15)


def check(history: History, told: Told) -> Checked:
    """Count and digest of every position against the first occurrences up to it."""
    checked = Checked("outboxes drained")
    positions = history.all(OutboxPosition)
    if not positions:
        checked.skipped = "no OutboxPosition was said"
        return checked
    shards: dict[Shard, list[Said]] = defaultdict(list)
    for one in history.said:
        if one.place.topic in OWNED:
            shards[one.place[:2]].append(one)
    newest = _newest(checked, positions, shards)
    for shard, said in shards.items():
        _covered(checked, said, newest.get(shard), told.as_of - _ON_ITS_WAY)
    return checked


def _newest(checked: Checked, positions: Sequence[Said], shards: dict[Shard, list[Said]]) -> dict[Shard, str]:
    """The newest event counted in each shard; each position is held to the records on the way."""
    newest: dict[Shard, str] = {}
    counted = {shard: _sums(said) for shard, said in shards.items()}
    for position in sorted(positions, key=lambda one: (one.envelope.source, one.envelope.sequence or 0)):
        for part in position.event.shards:
            shard = position.place.topic, part.partition
            checked.items += 1
            newest[shard] = part.last_id
            _compare(checked, position, part, counted.get(shard, {}).get(part.last_id))
    return newest


def _sums(said: list[Said]) -> dict[str, tuple[int, str]]:
    """Count and digest up to each event of a shard."""
    sums: dict[str, tuple[int, str]] = {}
    total = 0
    for count, one in enumerate(said, 1):
        total = (total + int.from_bytes(sha256(one.envelope.id.encode()).digest()[:8], "big")) % 2**64
        sums[one.envelope.id] = count, f"{total:016x}"
    return sums


def _compare(checked: Checked, position: Said, part: ShardPosition, found: tuple[int, str] | None) -> None:
    if found is None:
        checked.broken(f"partition {part.partition}: the newest event counted, {part.last_id}, is not there", [position])
    elif found != (part.count, part.digest):
        text = f"partition {part.partition}: {part.count} events were said up to {part.last_id}, {found[0]} are there"
        checked.broken(text if found[0] != part.count else text + ", others", [position])


def _covered(checked: Checked, said: list[Said], last_id: str | None, until: datetime) -> None:
    """After the newest event counted nothing comes but positions, and what is too young to be in one."""
    ids = [one.envelope.id for one in said]
    after = said[ids.index(last_id) + 1 :] if last_id in ids else said
    left = [one for one in after if not isinstance(one.event, OutboxPosition) and one.envelope.time < until]
    if left:
        checked.broken(f"{len(left)} events of {left[0].place.topic} are in no position", left[:3])
