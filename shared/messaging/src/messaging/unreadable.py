"""What becomes of records that cannot be read: answered where the sender can be told, else parked with a reason and a path."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from contracts.envelope import Envelope
from contracts.event import Problem, problems_of
from contracts.refusal import EnvelopeError
from contracts.topics import OWNED, REFERRALS
from messaging.decision import Invalid
from messaging.message import Received, Record, Trouble
from messaging.parking import in_its_lane, place_of
from messaging.routes import On, Routes

_NULL = Problem(path="/", problem="null-character", expected="text without U+0000")


def by_place(record: Record, trouble: Trouble) -> Received:
    """A record without an identity of its own: it is known by its place, and parked alone."""
    source, place = place_of(record)
    envelope = Envelope(id=place, source=source, type="unreadable", time=datetime.now(UTC))
    return Received(envelope, (source, place), record.value or b"", trouble=trouble, record=record)


def because(record: Record, error: Exception) -> Received:
    """A record that is no CloudEvent, or on which our code that reads it fails."""
    if isinstance(error, EnvelopeError):
        return by_place(record, Trouble("not-a-cloudevent", error.path))
    return by_place(record, Trouble(f"unreadable-{type(error).__name__}"))


def unrouted(record: Record, envelope: Envelope, routes: Routes) -> Received | None:
    """A type that is nobody's here: passed over when it is known, or new on a topic of our own; else parked.

    Commands come over HTTP and never over Kafka.
    """
    if envelope.type.encode() in routes.others or (record.topic in OWNED and envelope.type not in routes.commands):
        return None
    return by_place(record, Trouble("unknown-type", "ce_type"))


def barred(record: Record, envelope: Envelope) -> Trouble | tuple[str, str]:
    """Who may not write on this topic never claims an identity of ours.

    A referral goes on to its handler under another claim, since a referrer is told why it was refused.
    """
    if record.topic == REFERRALS:
        return f"spoofed:{envelope.source}", envelope.id
    return Trouble("foreign-source", "ce_source")


def invalid(received: Received, error: ValueError | None = None) -> Received:
    """A broken payload: for its route's own handler where it can say whom to answer, else parked with the first problem."""
    problems = problems_of(error) if isinstance(error, ValidationError) else [_NULL]
    route = received.route
    if isinstance(route, On) and route.invalid_subject and (broken := _object(received.value, problems)):
        subject = route.invalid_subject(broken)
        if subject:
            return replace(received, data=broken, subject=subject)
    trouble = Trouble(f"schema-{problems[0].problem}", problems[0].path)
    return in_its_lane(received, trouble) if _is_ours(received) else replace(received, trouble=trouble)


def _is_ours(received: Received) -> bool:
    """Said by one of us on its own topic, so its lane is known, and what comes later there must wait for it."""
    owner = received.record and OWNED.get(received.record.topic)
    by_envelope = isinstance(received.route, On) and received.route.subject is None
    return owner == received.envelope.source and by_envelope and received.subject is not None


def _object(value: bytes, problems: list[Problem]) -> Invalid | None:
    try:
        raw = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return Invalid(raw, tuple(problems)) if isinstance(raw, dict) else None
