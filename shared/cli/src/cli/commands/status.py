"""`rapport status`."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.commands.options import Home, console, stack_at
from cli.operating.asking import stopped_lines, summaries
from cli.operating.missing import Missing, ask
from cli.stack import ProcessStatus


def status(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """What runs, where it listens, whether it is ready, and which events are missing. Exit code 1 when something is not ready.

    [bold]Examples[/bold]

        rapport status

        rapport status --json | python3 -m json.tool
    """
    rows = stack_at(home).status()
    aside = summaries(home, [row.name for row in rows if row.running])
    missing = {row.name: ask(row) for row in rows}
    if as_json:
        told = [asdict(row) | aside.get(row.name, {}) | asdict(missing[row.name]) for row in rows]
        typer.echo(json.dumps(told, indent=2))
    else:
        console.print(_table(rows))
        _tell_aside(aside)
        for name, found in missing.items():
            _tell_missing(name, found)
    if not all(row.ready for row in rows):
        raise typer.Exit(1)


def _table(rows: list[ProcessStatus]) -> Table:
    table = Table("", "state", "pid", "address", "memory")
    for row in rows:
        state = "[green]ready[/green]" if row.ready else "[yellow]not ready[/yellow]" if row.running else "stopped"
        memory = f"{row.memory_mb} MB" if row.memory_mb else ""
        table.add_row(row.name, state, str(row.pid or ""), row.address or "", memory)
    return table


def _tell_aside(aside: dict[str, dict[str, Any]]) -> None:
    for name, told in aside.items():
        for line in stopped_lines(name, told):
            console.print(line)
        if told["parked"]:
            console.print(f"[yellow]{name}: {told['parked']} wait for a person[/yellow]: rapport parked list --service {name}")


def _tell_missing(name: str, found: Missing) -> None:
    for gap in found.gaps:
        numbers = f"{gap['first']}" if gap["first"] == gap["last"] else f"{gap['first']} to {gap['last']}"
        console.print(
            f"[red]{name} misses[/red] number {numbers} of {gap['source']} about {gap['subject']}, since {gap['noticed_at']}"
        )
    for claim in found.failed:
        console.print(
            f"[red]{name}: {claim['source']}[/red] counts {claim['claimed']} events in partition {claim['partition']}, "
            f"the record does not ({claim['problem']}, since {claim['failed_at']})"
        )
    for told in found.accounted:
        console.print(f"{told['events']} events of {told['source']} are on record as it counts them, up to {told['until']}")
