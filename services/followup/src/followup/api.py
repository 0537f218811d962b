"""Followup's HTTP edge: sessions and alliance checks come in, the plan can be read."""

import json
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI

from contracts.clinical import AllianceChecked, SessionRecorded
from contracts.envelope import Envelope
from contracts.vocabulary import Id
from followup.store import PLAN
from messaging.http import IdempotencyKey, ProblemError, answered
from messaging.service import Service


def add_api(app: FastAPI, service: Service) -> None:
    """Adds followup's routes."""

    async def say(episode: str, key: str, data: SessionRecorded | AllianceChecked) -> dict[str, Any]:
        envelope = Envelope(id=key, source=f"{service.source}/http", type=data.type, subject=episode, time=datetime.now(UTC))
        return answered(await service.door.handle(envelope, data))

    @app.post("/v1/episodes/{episode}/sessions", status_code=202)
    async def record_session(episode: Id, session: SessionRecorded, idempotency_key: IdempotencyKey) -> dict[str, Any]:
        return await say(episode, idempotency_key, session)

    @app.post("/v1/episodes/{episode}/alliance-checks", status_code=202)
    async def check_alliance(episode: Id, check: AllianceChecked, idempotency_key: IdempotencyKey) -> dict[str, Any]:
        return await say(episode, idempotency_key, check)

    @app.get("/v1/episodes/{episode}")
    async def read_plan(episode: Id) -> dict[str, Any]:
        row = await service.pool.fetchrow(PLAN, episode)
        if row is None or row["body"] is None:
            raise ProblemError(404, "no plan for this episode")
        return {"episode": episode, "version": row["version"], **json.loads(row["body"])}
