"""Intake's FHIR R4 edge: ServiceRequests alone, in transactions, batches and messages; every error is an OperationOutcome."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from intake.doors import Doors, json_body
from intake.fhir import bundles, views
from intake.fhir.document import Document, Located
from intake.fhir.issues import FhirRefused, Issue, operation_outcome
from intake.fhir_submission import Submission
from messaging.http import ProblemError

MEDIA = "application/fhir+json"
_ACCEPTED = (MEDIA, "application/json")

Handler = Callable[[Request], Awaitable[Response]]


def add_fhir_api(app: FastAPI, doors: Doors) -> None:
    """Adds the routes under /fhir."""

    async def begin(request: Request) -> tuple[Submission, Any]:
        body, parsed = await json_body(request, *_ACCEPTED)
        return Submission(doors, request.headers.get("Idempotency-Key"), body), parsed

    @app.post("/fhir/ServiceRequest")
    @_outcomes
    async def create(request: Request) -> Response:
        submission, body = await begin(request)
        done = (await submission.all_or_nothing(*_one(bundles.single(body))))[0]
        return _fhir(operation_outcome(done.remarks), done.status, {"Location": f"/fhir/ServiceRequest/{done.episode}"})

    @app.post("/fhir")
    @_outcomes
    async def bundle(request: Request) -> Response:
        submission, body = await begin(request)
        if isinstance(body, dict) and body.get("type") == "message":
            return await _message(submission, body)
        document = bundles.transaction(body, "transaction", "batch")
        if body["type"] == "batch":
            return _fhir(views.batch_response(body, document, await submission.each(document, bundles.requests_of(document))))
        done = await submission.all_or_nothing(document, list(bundles.requests_of(document)))
        return _fhir(views.transaction_response(body, done))

    @app.post("/fhir/$process-message")
    @_outcomes
    async def process_message(request: Request) -> Response:
        return await _message(*await begin(request))

    @app.post("/fhir/$validate")
    @_outcomes
    async def validate(request: Request) -> Response:
        submission, body = await begin(request)
        return _fhir(operation_outcome(await _remarks(submission, body)))

    @app.get("/fhir/ServiceRequest/{episode}")
    @_outcomes
    async def read(request: Request) -> Response:
        episode = request.path_params["episode"]
        known = (await doors.episodes([episode])).get(episode) if episode.isprintable() else None
        if known is None:
            raise ProblemError(404, "no referral is known by this id")
        return _fhir(views.service_request(episode, known))

    @app.get("/fhir/metadata")
    async def metadata() -> Response:
        return _fhir(views.capabilities())


def _one(single: tuple[Document, Located]) -> tuple[Document, list[Located]]:
    return single[0], [single[1]]


async def _message(submission: Submission, body: Any) -> Response:
    message = bundles.message(body)
    done = await submission.all_or_nothing(message.document, list(message.requests), message.sender)
    return _fhir(views.message_response(message, done, str(uuid4()), datetime.now(UTC)))


async def _remarks(submission: Submission, body: Any) -> list[Issue]:
    kind = body.get("type") if isinstance(body, dict) and body.get("resourceType") == "Bundle" else None
    try:
        if kind == "message":
            message = bundles.message(body)
            return await submission.dry(message.document, list(message.requests), message.sender)
        if kind:
            document = bundles.transaction(body, "transaction", "batch")
            return await submission.dry(document, list(bundles.requests_of(document)))
        return await submission.dry(*_one(bundles.single(body)))
    except FhirRefused as refused:
        return list(refused.issues)


def _outcomes(handler: Handler) -> Handler:
    """Every refusal of a FHIR route as an OperationOutcome."""

    @wraps(handler)
    async def answering(request: Request) -> Response:
        try:
            return await handler(request)
        except FhirRefused as refused:
            return _fhir(operation_outcome(refused.issues), _status(refused))
        except ProblemError as error:
            kind = Issue("", "not-found" if error.status == 404 else "structure", error.title)
            return _fhir(operation_outcome([kind]), error.status)

    return answering


def _status(refused: FhirRefused) -> int:
    kinds = {issue.kind for issue in refused.issues}
    if "conflict" in kinds:
        return 409
    return 400 if kinds <= {"structure"} else 422


def _fhir(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(body, status, headers, media_type=MEDIA)
