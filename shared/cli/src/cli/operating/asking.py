"""One service's API for operators, asked over HTTP."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.commands.options import stack_at
from cli.stack import SERVICES
from cli.stack.errors import StackError

_PAGE = 500
Json = dict[str, Any]


class Refused(Exception):
    """The service did not do it, and says why."""


@dataclass(frozen=True, slots=True)
class Api:
    """Where one service is asked."""

    service: str
    url: str

    def rows(self, **filters: str | None) -> Iterator[Json]:
        """Everything that is set aside there and fits, in order of age; timers come first."""
        wanted = {name: value for name, value in filters.items() if value is not None}
        after: int | None = 0
        while after is not None:
            found = self._ask("GET", "/v1/parked", params={**wanted, "after": after, "limit": _PAGE})["rows"]
            yield from ({**row, "service": self.service} for row in found)
            after = max((row["n"] for row in found if "n" in row), default=None)

    def summary(self) -> Json:
        """How many wait for a person, how many for their turn, and what is stopped."""
        return self._ask("GET", "/v1/parked", params={"limit": 0})

    def one(self, target: str) -> Json:
        """One of them with its lane; raises Refused."""
        return self._ask("GET", f"/v1/parked/{target}")

    def act(self, action: str, target: str, *, actor: str, reason: str | None, key: str, dry_run: bool) -> Json:
        """Retry, discard or resume; raises Refused."""
        path = f"/v1/topics/{target}/resume" if action == "resume" else f"/v1/parked/{target}/{action}"
        headers, why = {"X-Actor": actor, "Idempotency-Key": key}, {"reason": reason} if reason else {}
        return self._ask("POST", path, json=why, headers=headers, params={"dry_run": dry_run})

    def _ask(self, method: str, path: str, **request: Any) -> Json:
        answer = self._answer(method, path, **request) or self._answer(method, path, **request)
        if answer is None:
            where = f"rapport status, or set RAPPORT_{self.service.upper()}_URL"
            raise StackError(f"{self.service} does not answer at {self.url}: {where}")
        if answer.is_error:
            raise Refused(_why(answer))
        told: Json = answer.json()
        return told

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """None when it is lost; asked again, the same key does the same thing once."""
        try:
            return httpx.request(method, self.url + path, timeout=35, **request)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None


def apis(home: Path | None, only: str | None = None) -> list[Api]:
    """All services, or one: RAPPORT_<SERVICE>_URL, else the stack of this folder."""
    if only is not None and only not in SERVICES:
        raise StackError(f"{only} is none of {', '.join(SERVICES)}")
    names = [only] if only else SERVICES
    return [Api(name, os.environ.get(f"RAPPORT_{name.upper()}_URL") or stack_at(home).http_url(name)) for name in names]


def summaries(home: Path | None, names: Sequence[str]) -> dict[str, Json]:
    """What is set aside at each of these services, and which of their topics are stopped; who does not answer is left out."""
    found: dict[str, Json] = {}
    for api in apis(home):
        if api.service in names:
            with suppress(StackError, Refused):
                told = api.summary()
                found[api.service] = {word: told[word] for word in ("parked", "waiting", "stopped")}
    return found


def stopped_lines(service: str, summary: Json) -> list[str]:
    """One line per topic that a service does not read on."""
    return [
        f"[red]{service} stopped reading {stop['topic']}[/red] after {stop['faults']} faults of our own since {stop['since']}: "
        f"rapport parked resume {service} {stop['topic']} --reason CODE"
        for stop in summary["stopped"]
    ]


def _why(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except ValueError:
        return f"it answered {answer.status_code}"
    paths = [f"{p['path']} {p['problem']}" for p in told.get("problems", ())]
    cause = [f"{told['cause']} at {told.get('path')}"] if told.get("cause") else []
    return ": ".join([str(told.get("title")), *paths, *cause])
