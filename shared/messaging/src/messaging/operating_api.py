"""The HTTP edge of operators, the same at every service: see what is set aside, retry it, discard it, resume a topic."""

from typing import Annotated, Any, Literal

import asyncpg
from fastapi import FastAPI, Header, Path, Query

from contracts.event import Part
from contracts.vocabulary import Code
from messaging import listing
from messaging.aside import NotPossible
from messaging.http import IdempotencyKey, ProblemError
from messaging.operating import Action, Operating, Wish

Actor = Annotated[
    str,
    Header(
        alias="X-Actor", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9:._@+-]*$", description="who does it"
    ),
]
Target = Annotated[str, Path(pattern=r"^(\d{1,18}|timer-[0-9a-f-]{36})$", description="number of a row, or timer-<id>")]
Text = Annotated[str | None, Query(max_length=500)]
DryRun = Annotated[bool, Query(description="say what would be done, and do nothing")]


class Why(Part):
    """Why it is done, as a code."""

    reason: Code | None = None


class Because(Part):
    """Why it is done, as a code; nobody throws away without one."""

    reason: Code


def add_operating(app: FastAPI, operating: Operating) -> None:
    """Adds the routes; bodies of what is set aside never leave the database."""
    pool: asyncpg.Pool[Any] = operating.pool

    @app.get("/v1/parked")
    async def list_parked(
        outcome: Annotated[Literal["parked", "waiting"] | None, Query()] = None,
        reason: Text = None, type: Text = None, subject: Text = None, id: Text = None,
        after: Annotated[int, Query(ge=0, lt=2**63)] = 0, limit: Annotated[int, Query(ge=0, le=1000)] = 100,
    ) -> dict[str, Any]:  # fmt: skip
        wanted = listing.Filter(outcome, reason, type, subject, id)
        return {**await listing.summary(pool), "rows": await listing.rows(pool, wanted, after, limit)}

    @app.get("/v1/parked/{target}")
    async def show_parked(target: Target) -> dict[str, Any]:
        found = await listing.one(pool, target)
        if found is None:
            raise ProblemError(404, f"nothing is set aside under {target}", reason="not-found")
        return found

    @app.post("/v1/parked/{target}/retry")
    async def retry(
        target: Target, why: Why, actor: Actor, idempotency_key: IdempotencyKey, dry_run: DryRun = False
    ) -> dict[str, Any]:
        return await act("retry", target, actor, idempotency_key, why.reason, dry_run)

    @app.post("/v1/parked/{target}/discard")
    async def discard(
        target: Target, why: Because, actor: Actor, idempotency_key: IdempotencyKey, dry_run: DryRun = False
    ) -> dict[str, Any]:
        return await act("discard", target, actor, idempotency_key, why.reason, dry_run)

    @app.post("/v1/topics/{topic}/resume")
    async def resume(
        topic: Annotated[str, Path(max_length=249)],
        why: Because,
        actor: Actor,
        idempotency_key: IdempotencyKey,
        dry_run: DryRun = False,
    ) -> dict[str, Any]:
        return await act("resume", topic, actor, idempotency_key, why.reason, dry_run)

    async def act(action: Action, target: str, actor: str, key: str, reason: str | None, dry_run: bool) -> dict[str, Any]:
        try:
            return await operating.act(Wish(action, target, actor, key, reason, dry_run))
        except NotPossible as error:
            raise ProblemError(error.status, error.sentence, reason=error.reason, **error.more) from None
