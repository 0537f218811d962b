"""Where the commands find the broker and oversight."""

import os
from pathlib import Path

from cli.commands.options import stack_at


def bootstrap_at(home: Path | None) -> str:
    """The broker: RAPPORT_KAFKA_BOOTSTRAP, else the one of the stack in this folder."""
    return stack_at(home).kafka_bootstrap


def oversight_at(home: Path | None) -> str:
    """Oversight's API: RAPPORT_OVERSIGHT_URL, else the one of the stack in this folder."""
    return os.environ.get("RAPPORT_OVERSIGHT_URL") or stack_at(home).http_url("oversight")
