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
from cli.operating.oversight import ask_oversight
from contracts.custody_check import Finding, is_open
from contracts.custody_check import check as check_custody

# Answers may wait this long for their confirmation, and deadlines for answers that are not yet read.
LIVE_GRACE = 90.0
_PAGE = 200

app = typer.Typer(no_args_is_help=True, help="Who is accountable for whom, proven on the events.")


@app.callback()
def custody() -> None:
    """Keeps `check` a word of its own."""


@app.command()
def check(
    history: Annotated[Path | None, typer.Option(exists=True, help="Structured CloudEvents. Default: the topics, now.")] = None,
    grace: Annotated[float | None, typer.Option(min=0, help="Seconds; what is younger may still be on its way.")] = None,
    as_of: Annotated[datetime | None, typer.Option(help="Judge as of then. Default: the newest event, or now.")] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="Judge what oversight has on record, instead of Kafka.")] = False,
    home: Home = None,
) -> None:
    """Prove that each open episode has exactly one custodian. Exit code 1 names the episodes where it is not so.

    A history from a file is taken as finished: its newest event is the present, and nothing is excused as on its way. On a live
    system an answer may be unconfirmed for --grace seconds, 90 unless told otherwise.

    [bold]Examples[/bold]

        rapport custody check

        rapport custody check --ledger

        rapport tail intake.events.v1 matching.events.v1 followup.events.v1 --until-now --json > history.jsonl

        rapport custody check --history history.jsonl
    """
    if ledger and history:
        raise typer.BadParameter("choose one: a file (--history) or oversight's record (--ledger)")
    allowed = timedelta(seconds=grace if grace is not None else 0.0 if history else LIVE_GRACE)
    if ledger:
        opened, findings = _from_ledger(home, as_of, allowed)
    else:
        episodes = history_in(history) if history else asyncio.run(_from_broker(bootstrap_at(home)))
        findings = check_custody(episodes, _instant(episodes, as_of, live=history is None), allowed)
        opened = [episode for episode, events in episodes.items() if is_open(events)]
    _print(opened, findings)
    raise typer.Exit(1 if any(not finding.pending for finding in findings) else 0)


def _from_ledger(home: Path | None, as_of: datetime | None, grace: timedelta) -> tuple[list[str], list[Finding]]:
    """All pages, judged as of one instant: the first page's, unless told otherwise."""
    judged = _aware(as_of).isoformat() if as_of else None
    opened: list[str] = []
    findings: list[Finding] = []
    after: str | None = ""
    while after is not None:
        page = ask_oversight(home, "/v1/custody/check", after=after, limit=_PAGE, grace=grace.total_seconds(), as_of=judged)
        opened += page["open"]
        findings += [Finding(**finding) for finding in page["findings"]]
        after, judged = page["next"], page["as_of"]
    return opened, findings


async def _from_broker(bootstrap: str) -> Episodes:
    async with reader(bootstrap, JOURNEY) as consumer:
        return await history_of(up_to_now(consumer))


def _instant(episodes: Episodes, given: datetime | None, live: bool) -> datetime:
    if given:
        return _aware(given)
    times = [*times_of(episodes), *([datetime.now(UTC)] if live else [])]
    return max(times, default=datetime.now(UTC))


def _aware(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _print(opened: list[str], findings: list[Finding]) -> None:
    for finding in findings:
        console.print(f"{'pending' if finding.pending else 'FAILED'} {finding}", markup=False)
    failed = {finding.episode for finding in findings if not finding.pending}
    fine = len(set(opened) - failed)
    console.print(f"{len(opened)} open episodes: {fine} with exactly one custodian, {len(failed)} without")
