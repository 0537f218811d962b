"""Oversight's HTTP edge: one client's events, and the handoffs that wait for an answer."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

from fastapi import FastAPI, Header, Query
from fastapi.responses import Response

from contracts.envelope import Envelope
from contracts.vocabulary import PRINTABLE
from messaging.http import ProblemError, answered
from messaging.service import Service
from oversight import store
from oversight.handlers import ReadRecord
from oversight.reconciling import overview

Actor = Annotated[str, Header(alias="X-Actor", min_length=1, max_length=100, pattern=PRINTABLE, description="who reads")]
Purpose = Annotated[str, Header(alias="X-Purpose", min_length=1, max_length=60, pattern=r"^[a-z0-9-]+$")]


def add_api(app: FastAPI, service: Service) -> None:
    """Adds oversight's routes."""

    @app.get("/v1/episodes/{episode}/events")
    async def read_events(episode: str, actor: Actor, purpose: Purpose = "operations") -> Response:
        """Every event about the episode, as structured CloudEvents in the order recorded; the reading is recorded first."""
        rows = await store.episode(service.pool, episode)
        if not rows:
            raise ProblemError(404, "nothing is recorded about this episode")
        command = ReadRecord(reader=actor, purpose=purpose, entries=len(rows))
        now, source = datetime.now(UTC), f"{service.source}/http"
        asked = Envelope(id=str(uuid4()), source=source, type=command.type, subject=episode, time=now, actor=actor)
        answered(await service.door.handle(asked, command))
        return Response(_array(rows), media_type="application/json")

    @app.get("/v1/handoffs")
    async def read_handoffs(
        late: Annotated[bool | None, Query(description="only those past their deadline, or only those not")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """Handoffs that wait for an answer, the soonest deadline first."""
        return await store.standing(service.pool, late, limit)

    @app.get("/v1/reconciliation")
    async def read_reconciliation() -> dict[str, Any]:
        """What sources say they have said, held against the record: how far it was so, and where it is not."""
        return await overview(service.pool)


def _array(rows: list[tuple[str, bytes]]) -> bytes:
    return b"[" + b",\n".join(_structured(attributes, data) for attributes, data in rows) + b"]"


def _structured(attributes: str, data: bytes) -> bytes:
    members = json.dumps({**json.loads(attributes), "datacontenttype": "application/json"})
    return members[:-1].encode() + b', "data": ' + data + b"}"
