"""`rapport episode`."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from cli.commands.options import Home, console, instant_of
from cli.operating.oversight import UNKNOWN_EPISODE, ask_oversight
from cli.operating.tables import asked, clock, show, state, table_of

Json = dict[str, Any]


def episode(
    episode: Annotated[str, typer.Argument(help="The episode's id.")],
    at: Annotated[str | None, typer.Option(metavar="INSTANT", help="As it was then, by the events' own times.")] = None,
    known: Annotated[str | None, typer.Option(metavar="INSTANT", help="As it was known then: only what was recorded.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    home: Home = None,
) -> None:
    """Who is custodian of one episode, or was at an instant, everybody who ever was, and its handoffs. Reading it is recorded.

    An INSTANT is written 2026-11-23T09:00:00Z, or with an offset such as +01:00; without one it is UTC.

    [bold]Examples[/bold]

        rapport episode 0b7c4f0e-9a57-5a53-8a0e-2c6f4d1f7a90

        rapport episode 0b7c4f0e-9a57-5a53-8a0e-2c6f4d1f7a90 --at 2026-11-23T09:00:00Z

        rapport episode 0b7c4f0e-9a57-5a53-8a0e-2c6f4d1f7a90 --known 2026-11-23T09:00:00Z --json
    """
    then, by = instant_of("--at", at), instant_of("--known", known)
    path = f"/v1/episodes/{quote(episode, safe='')}/custody"
    told = ask_oversight(home, path, UNKNOWN_EPISODE, at=then and then.isoformat(), known=by and by.isoformat())
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    console.print(_headline(told))
    show(_terms(told["terms"]))
    show(_handoffs(told["handoffs"]))


def _headline(told: Json) -> str:
    when = f" at {told['at']}" if told["at"] else ""
    known = f", as it was known at {told['known']}" if told["known"] else ""
    return f"episode {told['episode']}: {told['custodian'] or 'nobody'} is custodian{when}{known} ({told['events']} events)\n"


def _terms(terms: list[Json]) -> Table:
    table = table_of("custodians, times in UTC", "from", "until", "custodian", "handoff")
    for term in terms:
        table.add_row(clock(term["begins"]), clock(term["ends"]), term["custodian"], term["handoff_id"] or "the opening")
    return table


def _handoffs(handoffs: list[Json]) -> Table:
    columns = ("state", "kind", "asked", "offered", "answered", "closed", "deadline", "then", "handoff")
    table = table_of("handoffs", *columns)
    for one in handoffs:
        closed = one["accepted_at"] or one["declined_at"] or one["overdue_at"] or one["superseded_at"]
        times = (clock(when) for when in (one["offered_at"], one["answered_at"], closed, one["deadline"]))
        then = f"to {one['escalated_to']}" if one["escalated_to"] else one["reason"] or ""
        table.add_row(state(one), one["kind"], asked(one), *times, then, one["handoff_id"])
    return table
