"""`rapport watch`."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from cli.commands.options import Home, console
from cli.commands.where import bootstrap_at
from cli.events.flow import Flow
from cli.events.kafka import PARKED, SHOWN, reader, up_to_now
from cli.events.lag import LagReader, Lags
from contracts.catalog import TYPES
from contracts.event import REGISTRY
from contracts.record import read_record
from contracts.refusal import EnvelopeError

_SHOWN_LATE = 10


def watch(
    once: Annotated[bool, typer.Option("--once", help="Read what is there, print one picture, and stop.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two pictures.")] = 1.0,
    home: Home = None,
) -> None:
    """The flow, live: rates, how far behind each consumer is in time, where clients stand, what is late, what is parked.

    [bold]Examples[/bold]

        rapport watch

        rapport watch --once | less
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(bootstrap_at(home), once, every))


async def _watch(bootstrap: str, once: bool, every: float) -> None:
    flow = Flow()
    async with reader(bootstrap, (*SHOWN, *PARKED)) as consumer, LagReader(bootstrap) as lags:
        await _read(flow, up_to_now(consumer))
        if once:
            console.print(picture(flow, await lags.lags(datetime.now(UTC)), datetime.now(UTC)))
            return
        reading = asyncio.create_task(_read(flow, aiter(consumer)))
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while not reading.done():
                live.update(picture(flow, await lags.lags(datetime.now(UTC)), datetime.now(UTC)), refresh=True)
                await asyncio.wait([reading], timeout=every)
        await reading


async def _read(flow: Flow, records: AsyncIterator[Any]) -> None:
    async for record in records:
        with suppress(EnvelopeError, ValidationError):
            envelope, data = read_record(record.headers, record.value)
            if envelope.type in TYPES:
                event = REGISTRY[envelope.type].model_validate_json(data)
                flow.apply(record.topic, envelope, event, datetime.fromtimestamp(record.timestamp / 1000, UTC))


def picture(flow: Flow, lags: Lags, now: datetime) -> RenderableType:
    """Everything on one screen."""
    return Group(
        Columns([_rates(flow, now), _lags(lags)], padding=(0, 4)),
        Columns([_standings(flow), _parked(flow)], padding=(0, 4)),
        _late(flow, now),
    )


def _rates(flow: Flow, now: datetime) -> Table:
    table = _table("events per second, last 10 s", "topic", "source", "events/s")
    for (topic, source), rate in flow.rates(now).items():
        table.add_row(topic, source, f"{rate:.1f}")
    return table


def _lags(lags: Lags) -> Table:
    table = _table("behind, in time", "consumer", "topic", "seconds")
    for (group, topic), behind in sorted(lags.items()):
        table.add_row(group, topic, f"{behind.total_seconds():.1f}")
    return table


def _standings(flow: Flow) -> Table:
    table = _table("where clients stand", "stage", "clients")
    for stage, count in flow.standings().items():
        table.add_row(stage, str(count))
    return table


def _parked(flow: Flow) -> Table:
    table = _table("parked", "by", "reason", "records")
    for (topic, reason), count in sorted(Counter((topic, reason) for (topic, _), reason in flow.parked.items()).items()):
        table.add_row(topic, reason, str(count))
    return table


def _late(flow: Flow, now: datetime) -> Table:
    late = flow.late(now)
    title = f"late: {len(late)} handoffs past their deadline, {flow.overdue()} overdue ever"
    table = _table(title, "episode", "giver", "receiver", "late by")
    for episode, offer in late[:_SHOWN_LATE]:
        late_by = timedelta(seconds=round((now - offer.deadline).total_seconds()))
        table.add_row(episode, offer.giver, offer.receiver, str(late_by))
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
