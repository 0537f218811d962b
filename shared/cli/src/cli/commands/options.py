"""Options that several commands share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.stack import Stack, default_home
from cli.stack.errors import StackError

Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of the stack: data, logs, stack.json. Default: .rapport/stack")
]

console = Console(highlight=False, soft_wrap=True, emoji=False)


def stack_at(home: Path | None) -> Stack:
    """The stack in this folder, which tells its progress on the terminal."""
    return Stack(home or default_home(), say=console.print)


def instant_of(option: str, text: str | None) -> datetime | None:
    """The instant a person wrote; without an offset it is UTC."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        example = "write it as 2026-11-23T09:00:00Z, or with an offset such as +01:00; without one it is UTC"
        raise StackError(f"{option} {text!r} is no instant: {example}") from None
