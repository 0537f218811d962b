"""What becomes of records that cannot be read: answered where the sender can be told, else parked with a reason and a path."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from contracts.envelope import OURS, Envelope
from contracts.event import Problem, problems_of
from contracts.topics import INBOUND, OWNED, REFERRALS
from messaging.decision import Invalid
from messaging.message import Received, Record, Trouble, digest_of
from messaging.routes import On

_NULL = Problem(path="/", problem="null-character", expected="text without U+0000")


def by_place(record: Record, trouble: Trouble) -> Received:
    """A record without an identity of its own: it is known by its place, and parked alone."""
    source, place = f"kafka:{record.topic}", f"{record.partition}-{record.offset}"
    envelope = Envelope(id=place, source=source, type="unreadable", time=datetime.now(UTC))
    digest = digest_of(record.value or b"")
    return Received(envelope, (source, place), digest, trouble=trouble, record=record)


def check_source(received: Received, record: Record) -> Received:
    """Who may not write on this topic never claims an identity of ours.

    A referral goes on to its handler under another claim, since a referrer is told why it was refused.
    """
    source = received.envelope.source
    if source == OWNED.get(record.topic) or (record.topic in INBOUND and not source.startswith(OURS)):
        return received
    if record.topic == REFERRALS:
        return replace(received, claim=(f"spoofed:{source}", received.envelope.id))
    return by_place(record, Trouble("foreign-source", "ce_source"))


def storable(value: bytes) -> bytes:
    """The JSON as it is; raises ValueError for U+0000, which PostgreSQL's text cannot hold."""
    if b"\\u0000" in value:
        raise ValueError("null-character")
    return value


def invalid(received: Received, value: bytes, error: ValueError) -> Received:
    """A broken payload: for its route's own handler where it can say whom to answer, else parked with the first problem."""
    problems = problems_of(error) if isinstance(error, ValidationError) else [_NULL]
    route = received.route
    if isinstance(route, On) and route.invalid_subject and (broken := _object(value, problems)):
        subject = route.invalid_subject(broken)
        if subject:
            return replace(received, data=broken, subject=subject)
    return replace(received, trouble=Trouble(f"schema-{problems[0].problem}", problems[0].path))


def _object(value: bytes, problems: list[Problem]) -> Invalid | None:
    try:
        raw = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return Invalid(raw, tuple(problems)) if isinstance(raw, dict) else None
