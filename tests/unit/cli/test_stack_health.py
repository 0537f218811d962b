"""What `rapport up` and `status` make of an answer to /readyz."""

from typing import Any

import pytest

from cli.stack.health import READY, SILENT, Health
from cli.stack.services import _health_of


@pytest.mark.parametrize(
    ("said", "health"),
    [
        ({"status": "ok"}, READY),
        ({"status": "failing", "database": "OSError", "relay": "behind"}, Health("database: OSError; relay: behind")),
        ({"status": "stopped", "consumer": "t is stopped"}, Health("consumer: t is stopped", stopped=True)),
        ({"status": "failing"}, Health("failing")),
        ({"status": 7}, SILENT),
        ({}, SILENT),
        (["ok"], SILENT),
    ],
)
def test_only_what_a_service_says_counts(said: Any, health: Health) -> None:
    assert _health_of(said) == health
    assert health.ready == (health is READY)
