"""Oversight, asked over HTTP by the person at this terminal, whose name goes with every question."""

import getpass
from pathlib import Path
from typing import Any

import httpx

from cli.commands.where import oversight_at
from cli.stack.errors import StackError

UNKNOWN_EPISODE = "nothing is recorded about this episode"
_WITHIN = 60.0


def ask_oversight(
    home: Path | None,
    path: str,
    unknown: str = "oversight has no such view; is it older?",
    **params: Any,
) -> Any:
    """What oversight answers to a GET; None among the parameters is left out. `unknown` is the sentence for a 404."""
    url = f"{oversight_at(home)}{path}"
    given = {name: value for name, value in params.items() if value is not None}
    try:
        answer = httpx.get(url, params=given, headers={"X-Actor": f"cli:{getpass.getuser()}"}, timeout=_WITHIN)
        told = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        raise StackError(f"oversight does not answer at {url}: rapport status, or set RAPPORT_OVERSIGHT_URL") from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise StackError(unknown)
    if answer.is_error:
        raise StackError(f"oversight answered {answer.status_code}: {_why(told)}")
    return told


def _why(told: Any) -> str:
    if not isinstance(told, dict):
        return str(told)[:300]
    problems = [f"{p['path']}: {p.get('expected') or p['problem']}" for p in told.get("problems", ())]
    return "; ".join([str(told.get("title")), *problems])
