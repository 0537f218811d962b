"""`rapport status`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cli.commands.options import Home, console, stack_at
from cli.operating.asking import stopped_lines, summaries
from cli.stack import ProcessStatus


def status(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """What runs, where it listens, and whether it is ready. Exit code 1 when something is not.

    [bold]Examples[/bold]

        rapport status

        rapport status --json | python3 -m json.tool
    """
    rows = stack_at(home).status()
    aside = summaries(home, [row.name for row in rows if row.running])
    if as_json:
        typer.echo(json.dumps([{**asdict(row), **aside.get(row.name, {})} for row in rows], indent=2))
    else:
        console.print(_table(rows))
        for name, told in aside.items():
            for line in stopped_lines(name, told):
                console.print(line)
            if told["parked"]:
                console.print(
                    f"[yellow]{name}: {told['parked']} wait for a person[/yellow]: rapport parked list --service {name}"
                )
    if not all(row.ready for row in rows):
        raise typer.Exit(1)


def _table(rows: list[ProcessStatus]) -> Table:
    table = Table("", "state", "pid", "address", "memory")
    for row in rows:
        state = "[green]ready[/green]" if row.ready else "[yellow]not ready[/yellow]" if row.running else "stopped"
        memory = f"{row.memory_mb} MB" if row.memory_mb else ""
        table.add_row(row.name, state, str(row.pid or ""), row.address or "", memory)
    return table
