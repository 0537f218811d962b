"""`rapport demo`."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.commands.options import console
from cli.demo import report
from cli.demo.run import SETTINGS, Demo
from cli.demo.run import Progress as Played
from cli.demo.tally import summary
from cli.stack.paths import demo_home
from cli.stack.stack import Stack


def demo(
    referrals: Annotated[int, typer.Option(min=1, max=5000, help="How many clients are referred.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed invents the same people.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's stack running afterwards.")] = False,
    kill: Annotated[str, typer.Option(help="Services to kill with SIGKILL on the way, separated by commas.")] = "",
    fhir: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Also send this folder's FHIR files.")] = None,
) -> None:
    """Refer 200 invented clients on an empty stack of its own, and count what became of each from the topics.

    [bold]Examples[/bold]

        rapport demo

        rapport demo --referrals 50 --seed 7 --keep

        rapport demo --kill intake,matching,followup
    """
    started = monotonic()
    stack = Stack(demo_home(), SETTINGS, say=lambda text: console.print(text, style="dim"))
    stack.down()
    stack.remove()
    stack.mark_as_demo()
    stack.up()
    names = [name for name in kill.split(",") if name]
    played = Played(referrals)
    try:
        asyncio.run(_play(Demo(stack, referrals, seed, names, fhir, console.print), played))
        good = _report(played)
    finally:
        _leave(stack, keep)
    console.print(f"{monotonic() - started:.0f} s in all", style="dim")
    console.print(good[0], highlight=False, soft_wrap=True)
    raise typer.Exit(0 if good[1] else 1)


async def _play(demo: Demo, played: Played) -> None:
    columns = TextColumn("journeys"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=played.total)
        playing = asyncio.create_task(demo.play(played))
        while not playing.done():
            bar.update(task, completed=played.ended(), total=max(played.total, len(played.sent)))
            await asyncio.wait([playing], timeout=0.2)
        bar.update(task, completed=played.ended())
        await playing


def _report(played: Played) -> tuple[str, bool]:
    record = played.record
    report.print_services(console, record)
    journeys = record.journeys()
    report.print_slowest(console, journeys)
    if journeys:
        report.print_timeline(console, record, max(journeys, key=lambda episode: journeys[episode]))
    report.print_files(console, played.files, record)
    findings = record.custody_findings()
    for text in [str(f) for f in findings] + [f"doubled: {' '.join(d)}" for d in record.tally.doubled()]:
        console.print(text, style="red", markup=False)
    return summary(record.tally, played.sent, len({finding.episode for finding in findings}))


def _leave(stack: Stack, keep: bool) -> None:
    if keep:
        console.print(f"kept: rapport status --home {stack.home}; stop it with rapport down --home {stack.home}", style="dim")
    else:
        stack.down()
