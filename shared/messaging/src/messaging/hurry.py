"""Which partitions are asked for next: topics that nobody waits for are left out for a moment while others bring work.

Every batch costs for every partition that it has records of, so records that may wait are better taken a few times a second.
"""

from collections.abc import Collection, Iterable
from time import monotonic

from aiokafka import TopicPartition

# A batch that comes so soon after it was asked for was there already, and more will come soon.
_AT_ONCE, _LEFT_OUT_FOR = 0.03, 0.15


class Hurry:
    """Told of each batch and asked what to read on; `leaving_out` says whether partitions of `unhurried` topics rest now."""

    def __init__(self, unhurried: Iterable[str]) -> None:
        self._unhurried = frozenset(unhurried)
        self._asked_at, self._all_at, self._busy = 0.0, 0.0, False
        self.leaving_out = False

    def brought(self) -> None:
        """A small batch has come."""
        self._busy = monotonic() - self._asked_at < _AT_ONCE

    def of(self, places: Collection[TopicPartition]) -> Collection[TopicPartition]:
        """Those that are asked for now."""
        self._asked_at = now = monotonic()
        self.leaving_out = bool(self._unhurried) and self._busy and now - self._all_at < _LEFT_OUT_FOR
        if not self.leaving_out:
            self._all_at = now
            return places
        return [place for place in places if place.topic not in self._unhurried]

    def calm(self) -> None:
        """What was left out is asked for next."""
        self._busy = False
