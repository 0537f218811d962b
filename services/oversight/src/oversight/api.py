"""Oversight's HTTP edge: one client's events, and how far what sources say about themselves is on record."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from contracts.vocabulary import Id
from messaging.http import ProblemError
from messaging.service import Service
from oversight import custody_store
from oversight.reading import Actor, Purpose, read_by
from oversight.reconciling import overview


def add_api(app: FastAPI, service: Service) -> None:
    """Adds oversight's routes."""

    @app.get("/v1/episodes/{episode}/events")
    async def read_events(episode: Id, actor: Actor, purpose: Purpose = "operations") -> Response:
        """Every event about the episode, as structured CloudEvents in the order recorded; the reading is recorded first."""
        rows = await custody_store.episode(service.pool, episode, None)
        if not rows:
            raise ProblemError(404, "nothing is recorded about this episode")
        await read_by(service, episode, actor, purpose, len(rows))
        return Response(_array(rows), media_type="application/json")

    @app.get("/v1/reconciliation")
    async def read_reconciliation() -> dict[str, Any]:
        """What sources say they have said, held against the record: how far it was so, and where it is not."""
        return await overview(service.pool)


def _array(rows: list[tuple[str, bytes]]) -> bytes:
    return b"[" + b",\n".join(_structured(attributes, data) for attributes, data in rows) + b"]"


def _structured(attributes: str, data: bytes) -> bytes:
    members = json.dumps({**json.loads(attributes), "datacontenttype": "application/json"})
    return members[:-1].encode() + b', "data": ' + data + b"}"
