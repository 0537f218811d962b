"""A scripted fault of the broker: while a file stands, no partition has a leader, as when one broker of several is gone.

Python imports this by itself in every process of a run, since its folder is on the path; with one broker the state that
follows, metadata without leaders, would last too short to be met.
"""

import os
from pathlib import Path
from time import monotonic
from typing import Any

_LOOK_EVERY = 0.2


class Leaderless:
    """Looks for the file now and then, since clients ask for leaders all the time."""

    def __init__(self, file: Path, known: Any) -> None:
        self._file, self._known = file, known
        self._looked, self._stands = 0.0, False

    def leader_for_partition(self, metadata: Any, partition: Any) -> Any:
        """None while the file stands."""
        now = monotonic()
        if now - self._looked > _LOOK_EVERY:
            self._looked, self._stands = now, self._file.exists()
        return None if self._stands else self._known(metadata, partition)


def install(file: Path) -> None:
    """Puts it between the client and what it knows of the cluster."""
    from aiokafka.cluster import ClusterMetadata

    leaderless = Leaderless(file, ClusterMetadata.leader_for_partition)
    ClusterMetadata.leader_for_partition = lambda self, partition: leaderless.leader_for_partition(self, partition)


if named := os.environ.get("RAPPORT_FAULTS_LEADERLESS"):
    install(Path(named))
