"""`rapport faults`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.stack.errors import StackError
from cli.stack.paths import CHECKOUT

HARNESS = CHECKOUT / "tests" / "faults"


def faults(
    smoke: Annotated[bool, typer.Option("--smoke", help="A minute and a half in all.")] = False,
    long: Annotated[bool, typer.Option("--long", help="An hour, every role a process of its own.")] = False,
    minutes: Annotated[float | None, typer.Option(min=0.5, help="How long there is trouble. Default: the CI form.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed invents the same clients and the same faults.")] = 1,
    bug: Annotated[str | None, typer.Option(help="Run code in which this bug of tests/faults/bugs was seeded.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder of the run's own stack. Default: .rapport/faults")] = None,
    code: Annotated[Path | None, typer.Option(exists=True, help="Another checkout whose services are run.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave data and logs of the run.")] = False,
    json_to: Annotated[Path | None, typer.Option("--json", help="Also write the outcome there.")] = None,
) -> None:
    """Try to break the promises: kill, freeze and poison a stack of its own under load, then check its history.

    Exit code 0: every promise was kept. 1: a promise was broken, with witnesses. 2: asked wrongly, such as for an unknown bug.

    [bold]Examples[/bold]

        rapport faults

        rapport faults --minutes 3 --seed 7

        rapport faults --bug no-inbox
    """
    if not HARNESS.is_dir():
        raise StackError(f"the fault harness is part of a checkout, and there is no {HARNESS}: run it from one")
    paths = {name: path.absolute() for name, path in (("--home", home), ("--code", code), ("--json", json_to)) if path}
    values = {"--minutes": minutes, "--seed": seed, "--bug": bug, **paths}
    words = [word for name, value in values.items() if value is not None for word in (name, str(value))]
    words += [name for name, wanted in (("--smoke", smoke), ("--long", long), ("--keep", keep)) if wanted]
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", "tests.faults", *words])  # noqa: S606
