"""What a stack is told: memory, deadlines, settings of its services, servers to use instead of its own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cli.stack.names import SERVICES

Environment = Mapping[str, str]


def _from_environment(name: str) -> str | None:
    return os.environ.get(name) or None


@dataclass(frozen=True)
class StackSettings:
    """`env` adds settings to a service by its name, to all under `*`; the deadlines are in seconds.

    `processes` are what `up` starts: services, replicas such as `intake-2`, roles such as `intake-relay` or `intake-relay-2`.
    """

    env: Mapping[str, Environment] = field(default_factory=dict)
    processes: Sequence[str] = SERVICES
    kafka_heap: str = "512m"
    start_within: float = 120.0
    stop_within: float = 15.0
    kafka_bootstrap: str | None = field(default_factory=lambda: _from_environment("RAPPORT_KAFKA_BOOTSTRAP"))
    postgres_dsn: str | None = field(default_factory=lambda: _from_environment("RAPPORT_POSTGRES_DSN"))
