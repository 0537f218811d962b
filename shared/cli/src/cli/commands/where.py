"""Where the commands find the broker and oversight."""

import logging
import os
from pathlib import Path

from cli.commands.options import stack_at
from cli.stack.errors import StackError


def bootstrap_at(home: Path | None) -> str:
    """The broker: RAPPORT_KAFKA_BOOTSTRAP, else the one of the stack in this folder."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    bootstrap = stack_at(home).kafka_bootstrap
    if bootstrap.endswith(":0"):
        raise StackError("no stack was started here: rapport up, or name one with --home, or set RAPPORT_KAFKA_BOOTSTRAP")
    return bootstrap


def oversight_at(home: Path | None) -> str:
    """Oversight's API: RAPPORT_OVERSIGHT_URL, else the one of the stack in this folder."""
    return os.environ.get("RAPPORT_OVERSIGHT_URL") or stack_at(home).http_url("oversight")
