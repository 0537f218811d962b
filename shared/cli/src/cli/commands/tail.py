"""`rapport tail`."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli.commands.options import Home
from cli.commands.where import bootstrap_at
from cli.events.kafka import SHOWN, reader, up_to_now
from contracts.binary import attributes_of
from contracts.envelope import Envelope
from contracts.record import read_record
from contracts.refusal import EnvelopeError
from contracts.structured import structured


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted."""

    episode: str | None
    event_type: str | None

    def wants(self, envelope: Envelope) -> bool:
        """Whether it is about the episode, and of the type, given whole or by its name."""
        if self.episode and envelope.subject != self.episode:
            return False
        return self.event_type is None or self.event_type in (envelope.type, _name(envelope.type))


def tail(
    topics: Annotated[list[str] | None, typer.Argument(help="Default: our services' topics and clinical.inbound.v1.")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="First everything that is there, then what comes.")] = False,
    until_now: Annotated[bool, typer.Option("--until-now", help="Everything that is there, and no more.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Structured CloudEvents, one per line.")] = False,
    episode: Annotated[str | None, typer.Option(help="Only this episode.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only this type, such as handoff-accepted.")] = None,
    home: Home = None,
) -> None:
    """Print events as they come, or those that are there.

    [bold]Examples[/bold]

        rapport tail --type handoff-accepted

        rapport tail --until-now --json > history.jsonl

        rapport tail referrals.inbound.v1 --from-start     # holds names: mind who looks over your shoulder
    """
    wanted = Filter(episode, event_type)
    try:
        live = _tail(bootstrap_at(home), topics or SHOWN, wanted, from_start=from_start, until_now=until_now, as_json=as_json)
        asyncio.run(live)
    except KeyboardInterrupt:
        raise typer.Exit from None


async def _tail(
    bootstrap: str, topics: Sequence[str], wanted: Filter, *, from_start: bool, until_now: bool, as_json: bool
) -> None:
    async with reader(bootstrap, topics, from_start=from_start or until_now) as consumer:
        records: AsyncIterator[Any] = up_to_now(consumer) if until_now else aiter(consumer)
        async for record in records:
            line = line_of(record, wanted, as_json)
            if line is not None:
                typer.echo(line)


def line_of(record: Any, wanted: Filter, as_json: bool) -> str | None:
    """The line of one record; None when it is not wanted, or cannot be JSON."""
    try:
        envelope, value = read_record(record.headers, record.value)
        data = json.loads(value)
    except (EnvelopeError, ValueError) as error:
        why = error if isinstance(error, EnvelopeError) else "data: is not JSON"
        return None if as_json else f"{_place(record)} unreadable: {why}"
    if not wanted.wants(envelope):
        return None
    if as_json:
        return json.dumps(structured(attributes_of(envelope), data), ensure_ascii=False)
    return f"{_place(record)} {envelope.time:%H:%M:%S.%f} {_name(envelope.type)} {envelope.subject} {_gist(data)}"


def _place(record: Any) -> str:
    return f"{record.topic}/{record.partition}@{record.offset}"


def _name(event_type: str) -> str:
    return event_type.split(".")[-2] if event_type.count(".") > 1 else event_type


def _gist(data: Any) -> str:
    """The plain members; what is nested is left to --json."""
    members = data.items() if isinstance(data, dict) else ()
    return " ".join(f"{name}={value}" for name, value in members if not isinstance(value, dict | list))
