"""`rapport validate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cli.commands.options import console
from cli.events.checking import problems_in
from cli.events.documents import documents
from contracts.event import Problem


def validate(
    files: Annotated[list[Path], typer.Argument(help="JSON, an array, or JSON lines; - reads what is piped in.")],
    event_type: Annotated[str | None, typer.Option("--type", help="For bare data: the type it should have.")] = None,
) -> None:
    """Say what is wrong with events before they are sent, where, and what would be right. Nothing is sent.

    [bold]Examples[/bold]

        rapport validate referral.json

        rapport validate --type care.rapport.clinical.choice-made.v1 choice.json
    """
    found = 0
    for file in files:
        for place, document in documents(file):
            problems = problems_in(document, event_type)
            found += len(problems)
            print_problems(f"{file}, {place}", problems)
    raise typer.Exit(1 if found else 0)


def print_problems(where: str, problems: list[Problem]) -> None:
    """One line per problem, or one that says there is none."""
    if not problems:
        console.print(f"[green]valid[/green] {escape(where)}")
    for problem in problems:
        right = f", expected: {escape(problem.expected)}" if problem.expected else ""
        console.print(f"[red]{problem.problem}[/red] at [bold]{escape(problem.path)}[/bold] of {escape(where)}{right}")
