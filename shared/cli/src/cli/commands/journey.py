"""`rapport journey`."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from cli.commands.options import Home, console
from cli.events.history import recorded_of
from cli.operating.oversight import UNKNOWN_EPISODE, ask_oversight
from contracts.custody import Recorded, custody_of

_TOLD = ("giver", "receiver", "answer", "by", "therapist_id", "seat", "reason", "escalated_to", "attended", "reader")


def journey(
    episode: Annotated[str, typer.Argument(help="The episode's id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Structured CloudEvents, with the custodian from there on.")] = False,
    home: Home = None,
) -> None:
    """One client's timeline across services, with the custodian at each moment. Reading it is itself recorded.

    [bold]Examples[/bold]

        rapport journey 0b7c4f0e-9a57-5a53-8a0e-2c6f4d1f7a90

        rapport journey 0b7c4f0e-9a57-5a53-8a0e-2c6f4d1f7a90 --json
    """
    members = ask_oversight(home, f"/v1/episodes/{quote(episode, safe='')}/events", unknown=UNKNOWN_EPISODE)
    recorded = [pair for one in members if (pair := recorded_of(one))]
    held = custodians(recorded)
    if as_json:
        typer.echo(json.dumps([{**one, "custodian": held.get(one["id"])} for one in members], indent=2, ensure_ascii=False))
    else:
        console.print(_table(episode, recorded, held))


def custodians(recorded: list[Recorded]) -> dict[str, str | None]:
    """Who is accountable from each event on, in the order in which they were recorded."""
    begins = {tenure.event_id: tenure.custodian for tenure in custody_of(recorded).tenures}
    held: dict[str, str | None] = {}
    now: str | None = None
    for envelope, _ in recorded:
        now = begins.get(envelope.id, now)
        held[envelope.id] = now
    return held


def _table(episode: str, recorded: list[Recorded], held: dict[str, str | None]) -> Table:
    table = Table(title=f"episode {episode}", title_justify="left", box=None, pad_edge=False)
    for column in ("time", "service", "event", "what", "custodian"):
        table.add_column(column, no_wrap=column != "what", overflow="fold")
    for envelope, event in recorded:
        service = envelope.source.rpartition("/")[2]
        at = f"{envelope.time:%m-%d %H:%M:%S.%f}"[:-3]
        what = _what(event.model_dump(exclude_none=True))
        table.add_row(at, service, type(event).__name__, what, held[envelope.id] or "nobody")
    return table


def _what(data: dict[str, Any]) -> str:
    """The few codes that tell one event of a kind from another."""
    return " ".join(f"{name}={data[name]}" for name in _TOLD if name in data)
