"""Handoffs as tables: what one line says about each."""

from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.commands.options import console

_ID = 36
_WHOLE = 400
Json = dict[str, Any]


def table_of(title: str, *columns: str) -> Table:
    """A table that folds what is long, and never an id."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        identifies = column in ("episode", "handoff")
        table.add_column(column, no_wrap=identifies, min_width=_ID if identifies else None, overflow="fold")
    return table


def show(table: Table) -> None:
    """Folded to the terminal; whole lines when a file or another command reads them."""
    (console if console.is_terminal else Console(highlight=False, width=_WHOLE, emoji=False)).print(table)


def clock(text: str | None) -> str:
    """An instant of an answer, in UTC, to the second."""
    return f"{datetime.fromisoformat(text):%m-%d %H:%M:%S}" if text else ""


def span(seconds: float | None) -> str:
    """A time span as a person reads it; `-` before what has passed."""
    if seconds is None:
        return ""
    return f"{'-' if seconds < 0 else ''}{timedelta(seconds=round(abs(seconds)))}"


def asked(one: Json) -> str:
    """Who asks whom, and which attempt it is."""
    return f"{one['giver']} → {one['receiver']}, attempt {one['attempt']}"


def state(one: Json) -> str:
    """What became of it; answered and not yet confirmed is neither."""
    word = "answered" if one["state"] == "offered" and one["answered_by"] else one["state"]
    return f"[red]{word}, late[/red]" if one["late"] else word
