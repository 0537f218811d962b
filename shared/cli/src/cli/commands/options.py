"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.stack import Stack, default_home

Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of the stack: data, logs, stack.json. Default: .rapport/stack")
]

console = Console(highlight=False, soft_wrap=True)


def stack_at(home: Path | None) -> Stack:
    """The stack in this folder, which tells its progress on the terminal."""
    return Stack(home or default_home(), say=console.print)
