"""Does one thing to many, at a pace, one after the other; stops when it is told to and says how far it came."""

import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import typer

from cli.commands.options import console
from cli.operating.asking import Api, Json, Refused
from cli.stack.errors import StackError

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m))?")


@dataclass(frozen=True, slots=True)
class Acting:
    """What is done, by whom and why."""

    action: str
    actor: str
    reason: str | None
    dry_run: bool = False
    per_second: float | None = None


@dataclass(slots=True)
class Tally:
    """How far it came."""

    done: int = 0
    failed: list[str] = field(default_factory=list)


def act_on(acting: Acting, targets: Sequence[tuple[Api, str]]) -> None:
    """Prints one line for each; exit code 1 when one failed, 130 when it was stopped."""
    tally = Tally()
    if not targets:
        console.print("nothing that is parked fits")
    try:
        _one_by_one(acting, targets, tally)
    except KeyboardInterrupt:
        left = len(targets) - tally.done - len(tally.failed)
        console.print(f"stopped: {_sum(acting, tally)}, {left} not touched")
        raise typer.Exit(130) from None
    console.print(_sum(acting, tally))
    if tally.failed:
        raise typer.Exit(1)


def pace(text: str | None) -> float | None:
    """Times per second: 5, 5/s, 30/m."""
    if text is None:
        return None
    found = _RATE.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise StackError(f"--rate {text} is no pace; try 5/s or 30/m")
    return float(found[1]) / (60 if found[2] == "m" else 1)


def _one_by_one(acting: Acting, targets: Sequence[tuple[Api, str]], tally: Tally) -> None:
    started = monotonic()
    for number, (api, target) in enumerate(targets):
        if acting.per_second:
            time.sleep(max(0.0, started + number / acting.per_second - monotonic()))
        name = f"{api.service}/{target}"
        try:
            told = api.act(
                acting.action, target, actor=acting.actor, reason=acting.reason, key=str(uuid.uuid4()), dry_run=acting.dry_run
            )
        except (Refused, StackError) as error:
            tally.failed.append(name)
            console.print(f"{name} FAILED: {error}", markup=False)
        else:
            tally.done += 1
            console.print(f"{name} {_told(told)}", markup=False)


def _told(told: Json) -> str:
    would = "would be " if told.get("dry_run") else ""
    behind = f", {told['behind']} behind it follow" if told.get("behind") else ""
    return f"{would}{told['outcome']}{behind}"


def _sum(acting: Acting, tally: Tally) -> str:
    would = " (dry run: nothing was done)" if acting.dry_run else ""
    return f"{tally.done} done, {len(tally.failed)} failed{would}"
