"""The table of commands, nothing else; each is one module of `cli.commands`."""

import sys

import typer
from rich.console import Console
from rich.text import Text

from cli.commands import (
    custody,
    demo,
    down,
    episode,
    faults,
    handoffs,
    journey,
    ledger,
    logs,
    parked,
    publish,
    replay,
    status,
    tail,
    up,
    validate,
    watch,
)
from cli.stack.errors import StackError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
    help="Rapport on this machine: start it, look at it, feed it.",
)  # fmt: skip

app.command("up")(up.up)
app.command("down")(down.down)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("demo")(demo.demo)
app.command("validate")(validate.validate)
app.command("publish")(publish.publish)
app.command("tail")(tail.tail)
app.command("journey")(journey.journey)
app.command("episode")(episode.episode)
app.command("handoffs")(handoffs.handoffs)
app.command("at-risk")(handoffs.at_risk)
app.command("watch")(watch.watch)
app.command("faults")(faults.faults)
app.command("replay")(replay.replay)
app.add_typer(custody.app, name="custody")
app.add_typer(ledger.app, name="ledger")
app.add_typer(parked.app, name="parked")


def main() -> None:
    """An error that we foresaw is a sentence for a person, never a traceback."""
    try:
        app(prog_name="rapport")
    except StackError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble(("rapport:", "red"), f" {error}"))
        sys.exit(1)
