"""`rapport logs`."""

import time
from collections import deque
from pathlib import Path
from typing import IO, Annotated

import typer

from cli.commands.options import Home, stack_at
from cli.stack.errors import StackError


def logs(
    service: Annotated[str | None, typer.Argument(help="intake, matching, followup, oversight, kafka, postgres")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.")] = 50,
    home: Home = None,
) -> None:
    """The last lines of one log, or of all.

    [bold]Examples[/bold]

        rapport logs matching -f

        rapport logs -n 5
    """
    paths = _paths(stack_at(home).home / "logs", service)
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            _print(path, deque(file, maxlen=lines), named=len(paths) > 1)
    if follow:
        _follow(paths)


def _paths(folder: Path, service: str | None) -> list[Path]:
    paths = sorted(folder.glob(f"{service or '*'}.log"))
    if not paths:
        raise StackError(f"there is no log {service or ''} in {folder}")
    return paths


def _follow(paths: list[Path]) -> None:
    files = {path: _at_end(path) for path in paths}
    try:
        while True:
            for path, file in files.items():
                _print(path, file.readlines(), named=len(paths) > 1)
            time.sleep(0.2)
    except KeyboardInterrupt:
        return


def _at_end(path: Path) -> IO[str]:
    file = path.open(encoding="utf-8", errors="replace")
    file.seek(0, 2)
    return file


def _print(path: Path, lines: deque[str] | list[str], *, named: bool) -> None:
    for line in lines:
        typer.echo(f"{path.stem:9} {line}" if named else line, nl=False)
