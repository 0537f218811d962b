"""Oversight's HTTP edge for custody: who holds an episode, which handoffs wait, are late or at risk, and what is wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query

from contracts.event import Problem
from contracts.vocabulary import PRINTABLE
from messaging.http import ProblemError
from messaging.service import Service
from oversight import custody_store as store
from oversight import views
from oversight.reading import Actor, Purpose, read_by

Word = Literal["offered", "answered", "accepted", "declined", "overdue", "escalated", "superseded"]
Episode = Annotated[str, Path(min_length=1, max_length=200, pattern=PRINTABLE)]
Instant = Annotated[str | None, Query(max_length=40, description="ISO 8601 with an offset, such as 2026-11-23T09:00:00Z")]


def add_custody_api(app: FastAPI, service: Service) -> None:
    """Adds the routes about custody."""

    @app.get("/v1/handoffs")
    async def read_handoffs(
        late: Annotated[bool | None, Query(description="only those past their deadline, or only those not")] = None,
        said: Annotated[Word | None, Query(description="not those that stand, but those about which this was said")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """Handoffs that wait for an answer, the soonest deadline first; or those about which `said`, the newest first."""
        return await views.handoffs(service.pool, said, late, limit)

    @app.get("/v1/handoffs/at-risk")
    async def read_at_risk(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        """Handoffs that may miss their deadline or have, the least time left first, each with why."""
        return await views.risks(service.pool, limit)

    @app.get("/v1/episodes/{episode}/custody")
    async def read_custody(
        episode: Episode, actor: Actor, purpose: Purpose = "operations", at: Instant = None, known: Instant = None
    ) -> dict[str, Any]:
        """Who was custodian, as it was `at` an instant and as it was `known` by one; the reading is recorded first."""
        then, by = instant("at", at), instant("known", known)
        rows = await store.episode(service.pool, episode, by)
        if rows is None:
            raise ProblemError(404, "nothing is recorded about this episode")
        await read_by(service, episode, actor, purpose, len(rows))
        told = views.custody(rows, then, await store.now(service.pool))
        return {"episode": episode, "at": then, "known": by, "events": len(rows), **told}

    @app.get("/v1/custody/check")
    async def check_custody(
        after: Annotated[str, Query(max_length=200, pattern=PRINTABLE, description="the `next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=500, description="subjects looked at")] = 100,
        grace: Annotated[float, Query(ge=0, le=86400, description="seconds; younger ones are pending")] = 90.0,
        as_of: Instant = None,
    ) -> dict[str, Any]:
        """What is wrong with the custody of the next episodes on record; judged aside, so that recording goes on."""
        judged = instant("as_of", as_of) or await store.now(service.pool)
        rows, following = await store.page(service.pool, after, limit)
        found = await asyncio.to_thread(views.findings, rows, judged, timedelta(seconds=grace))
        return {**found, "as_of": judged, "next": following}


def instant(name: str, text: str | None) -> datetime | None:
    """The instant of a parameter; raises ProblemError that says how to write one."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.astimezone(UTC) if read.tzinfo else _refuse(name)
    except (ValueError, OverflowError):
        return _refuse(name)


def _refuse(name: str) -> datetime:
    expected = "ISO 8601 with an offset, such as 2026-11-23T09:00:00Z; a + in a URL is written %2B"
    raise ProblemError(422, f"{name} is no instant", [Problem(path=f"/{name}", problem="no-instant", expected=expected)])
