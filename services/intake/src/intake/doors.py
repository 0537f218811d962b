"""What the HTTP and the FHIR door share: bodies in, the commands that Kafka records are too, answers out."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import uuid4

from fastapi import Request

from contracts.envelope import Envelope
from contracts.event import Event, Problem
from contracts.referral import ReferralSubmitted
from intake import store
from intake.domain.episode import Episode
from intake.handlers import Context, episode_of, on_referral_submitted
from intake.keyed import Keys
from messaging.decision import Command, Facts, Refused
from messaging.http import ProblemError
from messaging.message import Answer
from messaging.service import Service

# Payloads that were published as examples have a dozen levels; what walks through them takes a few calls for each.
_DEEPEST = 64


class Doors:
    """Turns requests into commands that nobody but our own doors can send."""

    def __init__(self, service: Service, keys: Keys, context: Context) -> None:
        self._service, self._context, self.keys = service, context, keys

    async def submit(self, referral: ReferralSubmitted, door: str, key: str | None) -> Answer:
        """A referral goes the same way as one from Kafka; without a key, equal content is the same submission."""
        envelope = self._envelope(referral, door, key or self.keys.content(referral), referral.identifier)
        return await self._service.door.handle(envelope, referral)

    async def ask(self, data: Event | Command, subject: str, key: str | None = None) -> Answer:
        """A command about an episode; without a key each one counts."""
        return await self._service.door.handle(self._envelope(data, "http", key or str(uuid4()), subject), data)

    async def objections(self, referral: ReferralSubmitted) -> Sequence[Problem]:
        """What intake would refuse this referral for now; nothing is written or said."""
        subject = episode_of(referral)
        known = await self.episodes([subject])
        envelope = self._envelope(referral, "fhir", "asked-before", referral.identifier)
        facts = Facts(subject, datetime.now(UTC), envelope, self._context)
        outcome = on_referral_submitted(referral, known.get(subject), facts)
        return problems_in(outcome.reply) if isinstance(outcome, Refused) else ()

    async def episodes(self, subjects: Sequence[str]) -> Mapping[str, Episode]:
        """The episodes that are known."""
        return await store.episodes(self._service.pool, subjects)

    async def identity(self, episode: str) -> dict[str, Any] | None:
        """The client's identity, after its disclosure was answered."""
        return await store.identity(self._service.pool, episode)

    def _envelope(self, data: Event | Command, door: str, key: str, subject: str) -> Envelope:
        return Envelope(
            id=key, source=f"{self._service.source}/{door}", type=data.type, subject=subject, time=datetime.now(UTC),
            actor=self.keys.door,
        )  # fmt: skip


async def json_body(request: Request, *media_types: str) -> tuple[bytes, Any]:
    """The body and the JSON in it; raises ProblemError with 415 for another type and 400 for what is not JSON or too deep."""
    given = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if given not in media_types:
        raise ProblemError(415, f"the body must be {' or '.join(media_types)}")
    body = await request.body()
    try:
        parsed = json.loads(body, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise ProblemError(400, "the body is not JSON", [Problem(path="/", problem="json-invalid")]) from None
    if _is_deeper(parsed, _DEEPEST):
        problem = Problem(path="/", problem="nested-too-deeply", expected=f"at most {_DEEPEST} levels")
        raise ProblemError(400, f"the body is nested deeper than {_DEEPEST} levels", [problem])
    return body, parsed


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(each, levels - 1) for each in inner)


def problems_in(reply: Any) -> list[Problem]:
    """The problems that a refusal replied with."""
    return [Problem.model_validate(p) for p in (reply or {}).get("problems", [])]


def _not_json(constant: str) -> NoReturn:
    raise ValueError(constant)
