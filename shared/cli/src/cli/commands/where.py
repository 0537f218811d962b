"""Where the commands find the broker and oversight."""

import logging
import os
import sys
from pathlib import Path

import typer

from cli.commands.options import stack_at
from cli.stack import Stack
from cli.stack.errors import StackError
from cli.stack.paths import demo_home


def bootstrap_at(home: Path | None) -> str:
    """The broker: RAPPORT_KAFKA_BOOTSTRAP, else the one of the stack in this folder."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    bootstrap = stack_at(home).kafka_bootstrap
    if bootstrap.endswith(":0"):
        raise StackError("no stack was started here: rapport up, or name one with --home, or set RAPPORT_KAFKA_BOOTSTRAP")
    return bootstrap


def stack_with_data(home: Path | None) -> Stack:
    """The stack in this folder; when none is named and the usual one does not run, the one that a demo kept."""
    usual, kept = stack_at(home), stack_at(demo_home())
    if home or usual.settings.postgres_dsn or usual.pid("postgres") or not (kept.pid("postgres") or kept.is_demo):
        return usual
    print(f"rapport: the stack that the demo kept, in {kept.home}", file=sys.stderr)
    return kept


def with_postgres(stack: Stack) -> Stack:
    """The same stack; when its PostgreSQL does not run it says how to start it, with exit code 2: nothing was looked at."""
    if not (stack.settings.postgres_dsn or stack.pid("postgres")):
        print(f"rapport: its PostgreSQL does not run: rapport up --infra --home {stack.home}", file=sys.stderr)
        raise typer.Exit(2)
    return stack


def oversight_at(home: Path | None) -> str:
    """Oversight's API: RAPPORT_OVERSIGHT_URL, else the one of the stack in this folder."""
    return os.environ.get("RAPPORT_OVERSIGHT_URL") or stack_at(home).http_url("oversight")
