"""HTTP edges of every service: problem details (RFC 9457), a limit on bodies, and the health endpoints."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.event import Problem, problems_of
from messaging.message import Answer
from messaging.metrics import Meters
from messaging.trouble import is_infrastructure

MAX_BODY = 1024 * 1024
IdempotencyKey = Annotated[
    str, Header(min_length=1, max_length=200, description="a request repeated with the same key and body is done once")
]
Check = Callable[[], Awaitable[Mapping[str, str]]]


class ProblemError(Exception):
    """An answer that says what is wrong, where, and what would be right; never what stood there."""

    def __init__(self, status: int, title: str, problems: Sequence[Problem] = (), **more: Any) -> None:
        super().__init__(title)
        self.status, self.title, self.problems, self.more = status, title, problems, more


def problem(error: ProblemError) -> Response:
    """The RFC 9457 body of an error."""
    body = {"type": "about:blank", "status": error.status, "title": error.title, **error.more}
    if error.problems:
        body["problems"] = [p.model_dump(exclude_none=True) for p in error.problems]
    return JSONResponse(body, error.status, media_type="application/problem+json")


def answered(answer: Answer) -> dict[str, Any]:
    """The HTTP form of an answer; raises ProblemError for what was not done."""
    if answer.outcome == "early":
        raise ProblemError(404, "this episode is not known here yet", reason=answer.reason)
    if answer.reason == "same-id-other-content":
        raise ProblemError(422, "this Idempotency-Key was used with another body", reason=answer.reason)
    if answer.outcome == "refused":
        raise ProblemError(409, "this is not possible now", reason=answer.reason)
    return {"outcome": answer.outcome, "duplicate": answer.duplicate, "reply": answer.reply}


class BodyLimit:
    """Refuses bodies over the limit with 413 while they are read, whatever Content-Length says."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; only HTTP is limited."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                refused = ProblemError(413, f"the body is larger than {self._limit} bytes")
                return await problem(refused)(scope, receive, send)
        return await self._app(scope, _replaying(body, receive), send)


def _replaying(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


def new_app(title: str, live: Check, ready: Check, meters: Meters) -> FastAPI:
    """A FastAPI application with the health endpoints and the errors every service shares."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit)
    app.add_exception_handler(ProblemError, lambda _, error: problem(error))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)
    app.add_api_route("/livez", _probe(live), include_in_schema=False)
    app.add_api_route("/readyz", _probe(ready), include_in_schema=False)
    app.add_api_route(
        "/metrics", lambda: Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST), include_in_schema=False
    )
    return app


def _probe(check: Check) -> Callable[[], Awaitable[Response]]:
    async def probe() -> Response:
        wrong = await check()
        return JSONResponse({"status": "failing" if wrong else "ok", **wrong}, 503 if wrong else 200)

    return probe


async def _invalid(_: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        found = [Problem(path="/" + "/".join(map(str, e["loc"][1:])), problem=e["type"]) for e in error.errors()]
        status = 400 if any(p.problem == "json_invalid" for p in found) else 422
        return problem(ProblemError(status, "the request does not hold its schema", found))
    assert isinstance(error, ValidationError)
    return problem(ProblemError(422, "the request does not hold its schema", problems_of(error)))


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(ProblemError(error.status_code, str(error.detail)))


async def _broken(_: Request, error: Exception) -> Response:
    if is_infrastructure(error):
        return problem(ProblemError(503, "try again later; what was asked is not done, or done once", retry=True))
    return problem(ProblemError(500, "this request could not be processed", kind=type(error).__name__))
