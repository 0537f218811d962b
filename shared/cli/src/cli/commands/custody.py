"""`rapport custody check`."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import Home, console
from cli.commands.where import bootstrap_at
from cli.events.history import Episodes, history_in, history_of, times_of
from cli.events.kafka import JOURNEY, reader, up_to_now
from contracts.custody_check import Finding, is_open
from contracts.custody_check import check as check_custody

# Answers may wait this long for their confirmation, and deadlines for answers that are not yet read.
LIVE_GRACE = 90.0

app = typer.Typer(no_args_is_help=True, help="Who is accountable for whom, proven on the events.")


@app.callback()
def custody() -> None:
    """Keeps `check` a word of its own."""


@app.command()
def check(
    history: Annotated[Path | None, typer.Option(exists=True, help="Structured CloudEvents. Default: the topics, now.")] = None,
    grace: Annotated[float | None, typer.Option(min=0, help="Seconds; what is younger may still be on its way.")] = None,
    as_of: Annotated[datetime | None, typer.Option(help="Judge as of then. Default: the newest event, or now.")] = None,
    home: Home = None,
) -> None:
    """Prove that each open episode has exactly one custodian. Exit code 1 names the episodes where it is not so.

    A history from a file is taken as finished: its newest event is the present, and nothing is excused as on its way. On a live
    system an answer may be unconfirmed for --grace seconds, 90 unless told otherwise.

    [bold]Examples[/bold]

        rapport custody check

        rapport tail intake.events.v1 matching.events.v1 followup.events.v1 --until-now --json > history.jsonl

        rapport custody check --history history.jsonl
    """
    episodes = history_in(history) if history else asyncio.run(_from_broker(bootstrap_at(home)))
    allowed = timedelta(seconds=grace if grace is not None else 0.0 if history else LIVE_GRACE)
    findings = check_custody(episodes, _instant(episodes, as_of, live=history is None), allowed)
    _print(episodes, findings)
    raise typer.Exit(1 if any(not finding.pending for finding in findings) else 0)


async def _from_broker(bootstrap: str) -> Episodes:
    async with reader(bootstrap, JOURNEY) as consumer:
        return await history_of(up_to_now(consumer))


def _instant(episodes: Episodes, given: datetime | None, live: bool) -> datetime:
    if given:
        return given if given.tzinfo else given.replace(tzinfo=UTC)
    times = [*times_of(episodes), *([datetime.now(UTC)] if live else [])]
    return max(times, default=datetime.now(UTC))


def _print(episodes: Episodes, findings: list[Finding]) -> None:
    for finding in findings:
        console.print(f"{'pending' if finding.pending else 'FAILED'} {finding}", markup=False)
    opened = [episode for episode, events in episodes.items() if is_open(events)]
    failed = {finding.episode for finding in findings if not finding.pending}
    fine = len(set(opened) - failed)
    console.print(f"{len(opened)} open episodes: {fine} with exactly one custodian, {len(failed)} without")
