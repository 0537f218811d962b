"""The demo's tables: per service, the slowest journeys, one client's timeline, the FHIR files."""

from collections.abc import Iterable
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from cli.demo.record import Record
from cli.demo.samples import FileResult
from contracts.custody import custody_of

_SLOWEST = 5


def print_services(console: Console, record: Record) -> None:
    """How many events of each type each service published."""
    for source in sorted({source for source, _ in record.tally.types}):
        table = Table("event", "count", title=source, title_justify="left", box=None, pad_edge=False)
        for (owner, name), count in sorted(record.tally.types.items()):
            if owner == source:
                table.add_row(name, str(count))
        console.print(table)


def print_slowest(console: Console, journeys: dict[str, timedelta]) -> None:
    """The journeys that took longest from opening to active plan."""
    table = Table("episode", "seconds", title="slowest journeys", title_justify="left", box=None, pad_edge=False)
    for episode, took in sorted(journeys.items(), key=lambda item: item[1], reverse=True)[:_SLOWEST]:
        table.add_row(episode, f"{took.total_seconds():.2f}")
    console.print(table)


def print_timeline(console: Console, record: Record, episode: str) -> None:
    """One client's journey with the custodian at each moment."""
    events = sorted(record.episodes[episode], key=lambda one: (one[0].time, one[0].sequence or 0))
    tenures = {tenure.event_id: tenure.custodian for tenure in custody_of(events).tenures}
    table = Table("at", "source", "event", "custodian", title=f"episode {episode}", title_justify="left", box=None)
    for envelope, event in events:
        custodian = tenures.get(envelope.id, "")
        table.add_row(f"{envelope.time:%H:%M:%S.%f}"[:-3], envelope.source, type(event).__name__, custodian)
    console.print(table)


def print_files(console: Console, files: Iterable[FileResult], record: Record) -> None:
    """What became of each FHIR file."""
    for file in files:
        fate = ", ".join(record.tally.fate(one) for one in file.sent) or "refused"
        console.print(f"[bold]{file.name}[/bold] → {file.door}: {file.status}, {fate}")
        for issue in file.issues:
            console.print(f"    {issue}", markup=False)
