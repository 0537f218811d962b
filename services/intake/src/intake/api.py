"""Intake's HTTP edge: referrals come in, their episodes can be read, identities shown, handoffs answered by people."""

from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Header, Query, Request, Response
from pydantic import ValidationError

from contracts.clinical import HandoffAnswered
from contracts.event import Part, problems_of
from contracts.referral import ReferralSubmitted
from contracts.vocabulary import Answer as Word
from contracts.vocabulary import Code, Id, episode_id
from intake.commands import DiscloseIdentity
from intake.domain.episode import DESK, Episode
from intake.doors import Doors, json_body, problems_in
from messaging.http import ProblemError, answered
from messaging.message import Answer

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, description="the same key and body are done once"),
]
Actor = Annotated[str, Header(alias="X-Actor", description="who will see it: class[:person], such as `therapist:t-17`")]


T = TypeVar("T", bound=Part)


class DeskAnswer(Part):
    """What a human desk says to a handoff."""

    answer: Word
    by: Id
    episode: Id
    reason: Code | None = None


def add_api(app: FastAPI, doors: Doors) -> None:
    """Adds the routes for referrals, identities and handoffs."""

    @app.post("/v1/referrals", status_code=202)
    async def submit_referral(request: Request, response: Response, idempotency_key: Key = None) -> dict[str, Any]:
        reply = _taken(await doors.submit(await _read(request, ReferralSubmitted), "http", idempotency_key))
        response.headers["Location"] = f"/v1/referrals/{reply['episode']}"
        return {"episode": reply["episode"], "status": "repeated" if reply["repeated"] else "accepted"}

    @app.get("/v1/referrals/{episode}")
    async def read_referral(episode: Id) -> dict[str, Any]:
        return await _status(doors, episode)

    @app.get("/v1/referrals")
    async def find_referral(
        assigner: Annotated[str, Query(max_length=200)], identifier: Annotated[str, Query(max_length=200)]
    ) -> dict[str, Any]:
        return await _status(doors, episode_id(assigner, identifier))

    @app.get("/v1/clients/{episode}/identity")
    async def show_identity(episode: Id, purpose: str, x_actor: Actor, response: Response) -> dict[str, Any]:
        answer = await doors.ask(_disclosure(x_actor, purpose), episode)
        if answer.outcome == "refused":
            raise ProblemError(403, "the client did not consent to this", reason=answer.reason)
        answered(answer)
        response.headers["Cache-Control"] = "no-store"
        return {"episode": episode, "identity": await doors.identity(episode)}

    @app.post("/v1/handoffs/{handoff_id}/answer")
    async def answer_handoff(handoff_id: str, request: Request, idempotency_key: Key = None) -> dict[str, Any]:
        said = await _read(request, DeskAnswer)
        answer = HandoffAnswered(handoff_id=handoff_id, arbiter=DESK, answer=said.answer, by=said.by, reason=said.reason)
        return dict(answered(await doors.ask(answer, said.episode, idempotency_key))["reply"])


async def _read(request: Request, shape: type[T]) -> T:
    _, body = await json_body(request, "application/json")
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        raise ProblemError(422, "the request does not hold its schema", problems_of(error)) from None


def _disclosure(actor: str, purpose: str) -> DiscloseIdentity:
    try:
        return DiscloseIdentity(recipient=actor, purpose=purpose)
    except ValidationError as error:
        names = {"/recipient": "X-Actor", "/purpose": "purpose"}
        wrong = [problem.model_copy(update={"path": names[problem.path]}) for problem in problems_of(error)]
    raise ProblemError(422, "the request does not hold its schema", wrong)


def _taken(answer: Answer) -> dict[str, Any]:
    """What became of the referral; raises ProblemError with each path that it was refused for."""
    problems = problems_in(answer.reply) if answer.outcome == "refused" else ()
    if problems:
        status = 409 if answer.reason == "amended" else 422
        raise ProblemError(status, "this referral was not taken", problems, reason=answer.reason)
    return dict(answered(answer)["reply"])


async def _status(doors: Doors, subject: str) -> dict[str, Any]:
    episode = (await doors.episodes([subject])).get(subject)
    if episode is None:
        raise ProblemError(404, "no episode is known for this referral")
    return {"episode": subject, **_public(episode)}


def _public(episode: Episode) -> dict[str, Any]:
    standing = episode.custody.standing
    asked = {"handoff": standing.id, "receiver": standing.receiver, "deadline": standing.deadline} if standing else None
    return {
        "assigner": episode.assigner, "identifier": episode.identifier, "status": episode.stage,
        "custodian": episode.custody.custodian, "asked": asked, "withdrawn": episode.withdrawn,
    }  # fmt: skip
