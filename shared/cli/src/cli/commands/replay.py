"""`rapport replay`."""

import getpass
from typing import Annotated

import typer

from cli.commands.options import Home, stack_at

ServiceName = Annotated[str, typer.Argument(help="intake, matching, followup or oversight.", metavar="SERVICE")]


def replay(
    service: ServiceName,
    fill: Annotated[bool, typer.Option("--fill", help="Apply what its inbox lacks.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build oversight's record anew beside the old one, and compare.")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="Only this topic.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Only from this instant on, such as 2026-11-23T09:00:00Z.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Who does it. Default: cli:<your name here>.")] = None,
    home: Home = None,
) -> None:
    """Read topics again beside the running service: what it missed is applied, in order, and nothing is done twice.

    It is said on the record who did it. The service itself goes on, and keeps its place.

    [bold]Examples[/bold]

        rapport replay matching --fill

        rapport replay followup --fill --topic matching.events.v1 --from 2026-11-23T09:00:00Z

        rapport replay oversight --rebuild
    """
    words = ["--fill"] * fill + ["--rebuild"] * rebuild + ["--actor", actor or f"cli:{getpass.getuser()}"]
    words += [] if topic is None else ["--topic", topic]
    words += [] if since is None else ["--from", since]
    raise typer.Exit(stack_at(home).run(service, "replay", *words, role="owner" if rebuild else None))
