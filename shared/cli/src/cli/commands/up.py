"""`rapport up`."""

from typing import Annotated

import typer

from cli.commands.options import Home, console, stack_at


def up(
    infra: Annotated[bool, typer.Option("--infra", help="Only Kafka and PostgreSQL, no services.")] = False,
    home: Home = None,
) -> None:
    """Start Kafka, PostgreSQL, and the four services; what runs already is left alone.

    [bold]Examples[/bold]

        rapport up

        rapport up --infra --home /tmp/trial

        RAPPORT_KAFKA_BOOTSTRAP=localhost:9092 rapport up     # a broker that runs already
    """
    stack = stack_at(home)
    stack.up(infra_only=infra)
    console.print(f"[green]up[/green]: ports and DSNs are in {stack.home / 'stack.json'}, logs in {stack.home / 'logs'}")
