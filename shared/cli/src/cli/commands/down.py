"""`rapport down`."""

from typing import Annotated

import typer

from cli.commands.options import Home, stack_at


def down(
    home: Home = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Also delete the folder with all data.")] = False,
) -> None:
    """Stop the services, then Kafka and PostgreSQL; data and logs stay for the next [bold]up[/bold].

    [bold]Examples[/bold]

        rapport down

        rapport down --home /tmp/trial --delete-data
    """
    stack = stack_at(home)
    stack.down()
    if delete_data:
        stack.remove()
