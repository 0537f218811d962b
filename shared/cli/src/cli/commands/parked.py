"""`rapport parked list | show | retry | discard | resume`."""

import getpass
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.commands.options import Home, console
from cli.operating.acting import Acting, act_on, pace
from cli.operating.asking import Api, Json, Refused, apis, stopped_lines
from cli.stack.errors import StackError

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich",
    help="What is set aside and waits for a person: see it, retry it, discard it, resume a stopped topic.",
)  # fmt: skip

Rows = Annotated[list[str] | None, typer.Argument(help="SERVICE/NUMBER as the list shows them, such as intake/17.")]
Row = Annotated[str, typer.Argument(help="SERVICE/NUMBER as the list shows it, such as intake/17.")]
Service = Annotated[str | None, typer.Option(help="Only of this service.")]
ParkedFor = Annotated[str | None, typer.Option("--parked-for", help="Only with this reason, such as handler-KeyError.")]
EventType = Annotated[str | None, typer.Option("--type", help="Only of this type, such as choice-made.")]
Subject = Annotated[str | None, typer.Option(help="Only about this subject, such as an episode.")]
EventId = Annotated[str | None, typer.Option("--id", help="Only the event with this id.")]
Actor = Annotated[str | None, typer.Option(help="Who does it. Default: cli:<your name here>.")]
Reason = Annotated[str | None, typer.Option(help="Why, as a code such as upgraded or plan-is-known.")]
Because = Annotated[str, typer.Option(help="Why, as a code such as sender-corrected. It stays on the record.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Rate = Annotated[str | None, typer.Option(help="At most so many: 5/s, 30/m.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which of them are meant."""

    service: str | None
    reason: str | None
    type: str | None
    subject: str | None
    id: str | None

    def of(self, api: Api, outcome: str | None) -> Iterator[Json]:
        """All that fit at one service."""
        return api.rows(outcome=outcome, reason=self.reason, type=self.type, subject=self.subject, id=self.id)

    def __bool__(self) -> bool:
        return any((self.service, self.reason, self.type, self.subject, self.id))


@dataclass(slots=True)
class Seen:
    """What the services said, and which said nothing."""

    rows: list[Json] = field(default_factory=list)
    summaries: dict[str, Json] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)


@app.command("list")
def list_parked(
    service: Service = None, reason: Annotated[str | None, typer.Option("--reason", "--parked-for")] = None,
    event_type: EventType = None, subject: Subject = None, event_id: EventId = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Also what waits for its turn or its subject.")] = False,
    as_json: AsJson = False, home: Home = None,
) -> None:  # fmt: skip
    """What waits for a person: records that are parked, timers that failed too often, topics that are stopped.

    Nothing of a body is shown; bodies stay in the services' databases.

    [bold]Examples[/bold]

        rapport parked list

        rapport parked list --service matching --reason handler-KeyError

        rapport parked list --subject 72dec744-def0-5b2a-8aa6-5b065f46deb1 --waiting

        rapport parked list --json | python3 -m json.tool
    """
    filters = Filters(service, reason, event_type, subject, event_id)
    seen = Seen()
    for api in apis(home, service):
        try:
            seen.rows += filters.of(api, None if waiting else "parked")
            seen.summaries[api.service] = api.summary()
        except StackError as error:
            seen.silent.append(str(error))
    _print_json(seen) if as_json else _print(seen)
    if seen.silent:
        raise typer.Exit(1)


@app.command()
def show(row: Row, as_json: AsJson = False, home: Home = None) -> None:
    """Why it is parked, where its record lies, what waits with it, and what helps.

    [bold]Examples[/bold]

        rapport parked show intake/17

        rapport parked show followup/timer-0190c4f0-0000-7000-8000-000000000000 --json
    """
    api, target = _named(row, home)
    try:
        found = api.one(target)
    except Refused as error:
        raise StackError(str(error)) from None
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console.print(_facts(row, found))
    for other in found["lane"]:
        where = "ahead of it" if other["ahead"] else "behind it"
        console.print(f"{where}: {api.service}/{other['target']} {other['outcome']} {other['reason']}", markup=False)
    console.print(f"what helps: {found['advice']}", markup=False)


@app.command()
def retry(
    rows: Rows = None, reason: Reason = None, actor: Actor = None, service: Service = None, parked_for: ParkedFor = None,
    event_type: EventType = None, subject: Subject = None, event_id: EventId = None,
    dry_run: DryRun = False, rate: Rate = None, home: Home = None,
) -> None:  # fmt: skip
    """Try it again, now that its cause is gone; what waits behind it follows in order. Ctrl-C stops between two rows.

    Of a lane only the head can be tried; it may be parked again. Filters take everything parked that fits, oldest first.

    [bold]Examples[/bold]

        rapport parked retry followup/3 --reason plan-is-known

        rapport parked retry --service matching --parked-for handler-KeyError --reason upgraded --dry-run

        rapport parked retry --service matching --parked-for handler-KeyError --reason upgraded --rate 5/s
    """
    filters = Filters(service, parked_for, event_type, subject, event_id)
    act_on(Acting("retry", _actor(actor), reason, dry_run, pace(rate)), _chosen(rows, filters, home))


@app.command()
def discard(
    reason: Because, rows: Rows = None, actor: Actor = None, service: Service = None, parked_for: ParkedFor = None,
    event_type: EventType = None, subject: Subject = None, event_id: EventId = None,
    dry_run: DryRun = False, rate: Rate = None, home: Home = None,
) -> None:  # fmt: skip
    """Drop it for ever, with a reason that stays on the record; its lane goes on without it. Ctrl-C stops between two rows.

    It does not come back when its record does. A timer cannot be discarded: it is somebody's deadline.

    [bold]Examples[/bold]

        rapport parked discard intake/17 --reason sender-corrected

        rapport parked discard --service intake --parked-for not-a-cloudevent --reason garbage --dry-run
    """
    filters = Filters(service, parked_for, event_type, subject, event_id)
    act_on(Acting("discard", _actor(actor), reason, dry_run, pace(rate)), _chosen(rows, filters, home))


@app.command()
def resume(
    service: Annotated[str, typer.Argument(help="intake, matching, followup, oversight")],
    topic: Annotated[str, typer.Argument(help="The topic that it stopped reading.")],
    reason: Because, actor: Actor = None, dry_run: DryRun = False, home: Home = None,
) -> None:  # fmt: skip
    """Let a service read on a topic that too many faults of our own code have stopped. Mend their cause first.

    [bold]Examples[/bold]

        rapport parked resume matching intake.events.v1 --reason upgraded
    """
    (api,) = apis(home, service)
    act_on(Acting("resume", _actor(actor), reason, dry_run), [(api, topic)])


def _named(row: str, home: Path | None) -> tuple[Api, str]:
    service, _, target = row.partition("/")
    if not re.fullmatch(r"\d{1,18}|timer-[0-9a-f-]{36}", target):
        raise StackError(f"{row} is no row: name it as rapport parked list does, such as intake/17")
    return apis(home, service)[0], target


def _chosen(rows: list[str] | None, filters: Filters, home: Path | None) -> list[tuple[Api, str]]:
    if bool(rows) == bool(filters):
        raise StackError("name rows, such as intake/17, or give filters, such as --service intake, and not both")
    if rows:
        return [_named(row, home) for row in rows]
    return [(api, row["target"]) for api in apis(home, filters.service) for row in filters.of(api, "parked")]


def _actor(given: str | None) -> str:
    return given or f"cli:{getpass.getuser()}"


def _print_json(seen: Seen) -> None:
    services = {name: {key: told[key] for key in ("parked", "waiting", "stopped")} for name, told in seen.summaries.items()}
    typer.echo(json.dumps({"rows": seen.rows, "services": services, "silent": seen.silent}, indent=2))


def _print(seen: Seen) -> None:
    for line in _lines(seen.rows):
        console.print(line, markup=False)
    for name, told in seen.summaries.items():
        for line in stopped_lines(name, told):
            console.print(line)
    for line in seen.silent:
        console.print(line, style="red", markup=False)
    parked, waits = (sum(told[word] for told in seen.summaries.values()) for word in ("parked", "waiting"))
    console.print(f"{parked} wait for a person, {waits} for their turn or their subject")


def _lines(rows: list[Json]) -> Iterator[str]:
    """A table that no terminal is too narrow for: its last column has no end."""
    columns = [("row", "since", "reason", "type", "tries", "behind", "record", "subject"), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    if rows:
        yield from ("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in columns)


def _cells(row: Json) -> tuple[str, ...]:
    reason = row["reason"] + (f" at {row['path']}" if row.get("path") else "")
    since = row["at"][5:19].replace("T", " ")
    return (
        f"{row['service']}/{row['target']}", since, reason, _short(row["type"]), str(row["attempts"]), str(row["behind"] or ""),
        _place(row), row["subject"] or "",
    )  # fmt: skip


def _facts(name: str, found: Json) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("row", name)
    for name_of in (
        "outcome",
        "reason",
        "path",
        "type",
        "kind",
        "subject",
        "source",
        "id",
        "size",
        "at",
        "retry_at",
        "attempts",
    ):
        if found.get(name_of) is not None:
            table.add_row(name_of, str(found[name_of]))
    table.add_row("record", _place(found))
    return table


def _place(row: Json) -> str:
    return f"{row['topic']}/{row['partition']}@{row['offset']}" if row.get("topic") else ""


def _short(event_type: str | None) -> str:
    return event_type.split(".")[-2] if event_type and event_type.count(".") > 1 else event_type or ""
