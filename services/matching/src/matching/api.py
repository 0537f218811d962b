"""Matching's HTTP edge: choices and answers come in; a match and a therapist's places can be read."""

import json
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from pydantic import Field

from contracts.clinical import ChoiceMade, HandoffAnswered, OfferAnswered
from contracts.envelope import Envelope
from contracts.event import Part
from contracts.vocabulary import Answer, Code, Id
from matching.store import MATCH, THERAPIST
from messaging.http import IdempotencyKey, ProblemError, answered
from messaging.service import Service


class TherapistAnswer(Part):
    """A therapist's answer to an offer."""

    episode: Id = Field(description="the client's episode")
    answer: Answer = Field(description="the therapist's answer")
    reason: Code | None = Field(default=None, description="code, for a decline")


class DeskAnswer(TherapistAnswer):
    """A human desk's answer to a handoff."""

    by: Id = Field(description="the desk that answers")


def add_api(app: FastAPI, service: Service) -> None:
    """Adds matching's routes."""

    async def say(episode: str, key: str, data: ChoiceMade | OfferAnswered | HandoffAnswered) -> dict[str, Any]:
        envelope = Envelope(id=key, source=f"{service.source}/http", type=data.type, subject=episode, time=datetime.now(UTC))
        return answered(await service.door.handle(envelope, data))

    @app.post("/v1/episodes/{episode}/choice", status_code=202)
    async def choose(episode: Id, choice: ChoiceMade, idempotency_key: IdempotencyKey) -> dict[str, Any]:
        return await say(episode, idempotency_key, choice)

    @app.post("/v1/offers/{offer_id}/answer", status_code=202)
    async def answer_offer(offer_id: Id, answer: TherapistAnswer, idempotency_key: IdempotencyKey) -> dict[str, Any]:
        data = OfferAnswered(offer_id=offer_id, answer=answer.answer, reason=answer.reason)
        return await say(answer.episode, idempotency_key, data)

    @app.post("/v1/handoffs/{handoff_id}/answer", status_code=202)
    async def answer_handoff(handoff_id: Id, answer: DeskAnswer, idempotency_key: IdempotencyKey) -> dict[str, Any]:
        data = HandoffAnswered(
            handoff_id=handoff_id, arbiter="matching", answer=answer.answer, by=answer.by, reason=answer.reason
        )
        return await say(answer.episode, idempotency_key, data)

    @app.get("/v1/episodes/{episode}")
    async def read_match(episode: Id) -> dict[str, Any]:
        row = await service.pool.fetchrow(MATCH, episode)
        if row is None or row["body"] is None:
            raise ProblemError(404, "no match for this episode")
        match = json.loads(row["body"])
        shown = {name: match[name] for name in ("stage", "shortlist", "offer")}
        return {"episode": episode, "version": row["version"], **shown, "custodian": match["custody"]["custodian"]}

    @app.get("/v1/therapists/{therapist}")
    async def read_places(therapist: Id) -> dict[str, Any]:
        row = await service.pool.fetchrow(THERAPIST, therapist)
        if row is None:
            raise ProblemError(404, "this therapist is not listed")
        return dict(row)
