"""`rapport handoffs` and `rapport at-risk`."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.commands.options import Home, console
from cli.operating.oversight import ask_oversight
from cli.operating.tables import asked, clock, show, span, state, table_of

Json = dict[str, Any]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
COLUMNS = ("deadline", "state", "kind", "asked", "offered", "episode", "handoff")
WHY = {
    "past-deadline": "its deadline has passed",
    "needs-longer": "others of its kind took longer than what is left",
    "little-left": "less than a quarter of its time is left",
}


class Word(StrEnum):
    """What can be said about a handoff."""

    OFFERED = "offered"
    ANSWERED = "answered"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    OVERDUE = "overdue"
    ESCALATED = "escalated"
    SUPERSEDED = "superseded"


def handoffs(
    late: Annotated[bool, typer.Option("--late", help="Only those past their deadline.")] = False,
    said: Annotated[Word | None, typer.Option(help="Not those that stand, but those about which this was said.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Handoffs that wait for an answer, the soonest deadline first; or with --said what became of others, the newest first.

    [bold]Examples[/bold]

        rapport handoffs --late

        rapport handoffs --said overdue --limit 20

        rapport handoffs --json
    """
    found = ask_oversight(home, "/v1/handoffs", late=True if late else None, said=said and said.value, limit=limit)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        show(_handoffs(found))
    else:
        console.print("no such handoff" if said else "no handoff is late" if late else "no handoff waits for an answer")


def at_risk(limit: Limit = 100, as_json: AsJson = False, home: Home = None) -> None:
    """Handoffs that may miss their deadline, or have: the least time left first, each with why.

    What a handoff still needs: 95 of 100 others of its kind that were unanswered at its age needed no longer. Where there are
    fewer than 20 of them, it is at risk in the last quarter of its time.

    [bold]Examples[/bold]

        rapport at-risk

        rapport at-risk --json
    """
    found = ask_oversight(home, "/v1/handoffs/at-risk", limit=limit)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        show(_risks(found))
    else:
        console.print("no handoff is at risk")


def _handoffs(found: list[Json]) -> Table:
    table = table_of(
        f"{len(found)} handoffs, times in UTC", "deadline", "state", "kind", "asked", "offered", "episode", "handoff"
    )
    for one in found:
        shown = clock(one["deadline"]), state(one), one["kind"], asked(one), clock(one["offered_at"])
        table.add_row(*shown, one["episode"], one["handoff_id"])
    return table


def _risks(found: list[Json]) -> Table:
    columns = ("left", "needs", "p95", "kind", "asked", "why", "episode", "handoff")
    table = table_of(f"{len(found)} handoffs at risk", *columns)
    for one in found:
        times = (span(one[name]) for name in ("seconds_left", "needs_seconds", "p95_seconds"))
        table.add_row(*times, one["kind"], asked(one), WHY.get(one["why"], one["why"]), one["episode"], one["handoff_id"])
    return table
