"""Notices when a topic got more partitions while we run: keys would go elsewhere, and order with them."""

from collections.abc import Collection
from typing import Any

import structlog

log = structlog.get_logger()


class Partitions:
    """How many partitions the topics had at first sight; once they differ, they differ until the process is started anew."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics
        self._counts: dict[str, int] = {}
        self.wrong: str | None = None

    def look(self, reading: Any) -> str | None:
        """What is wrong, if anything; it asks what the client knows already and never waits."""
        for topic in self._topics if reading and not self.wrong else ():
            found = len(reading.partitions_for_topic(topic) or ())
            if found and self._counts.setdefault(topic, found) != found:
                self.wrong = f"{topic} has {found} partitions and had {self._counts[topic]}"
                log.critical("partition_count_changed", topic=topic, count=found)
        return self.wrong
