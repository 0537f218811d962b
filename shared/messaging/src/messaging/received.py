"""Reads records, commands and due timers into messages, each with its route and the subject it is decided under."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from contracts.envelope import Envelope, EnvelopeError
from contracts.record import read_record
from messaging import unreadable
from messaging.decision import DueTimer
from messaging.message import Received, Record, Trouble, digest_of
from messaging.routes import Due, Kept, Routes


def read(record: Record, routes: Routes) -> Received | None:
    """What a record asks of this service: None for events that are somebody else's concern."""
    if routes.passes_over(record.topic, next((v for k, v in record.headers if k == "ce_type"), None)):
        return None
    try:
        envelope, value = read_record(record.headers, record.value)
    except EnvelopeError as error:
        return unreadable.by_place(record, Trouble("not-a-cloudevent", error.path))
    if routes.passes_over(record.topic, envelope.type.encode()):
        return None
    if envelope.type not in routes.events:
        return unreadable.by_place(record, Trouble("unknown-type", "ce_type"))
    return bind(envelope, value, routes, record)


def bind(envelope: Envelope, value: bytes, routes: Routes, record: Record | None = None) -> Received:
    """The typed message for its route, with the subject it is decided under; raises KeyError without a route."""
    kept, route = routes.events[envelope.type]
    received = Received(
        envelope, (envelope.source, envelope.id), digest_of(value), kept, route, envelope.subject, record=record
    )
    if record and (received := unreadable.check_source(received, record)).trouble:
        return received
    try:
        data = route.event.model_validate_json(unreadable.storable(value))
    except (ValidationError, ValueError) as error:
        return unreadable.invalid(received, value, error)
    subject = route.subject(data) if route.subject else envelope.subject
    missing = None if subject else Trouble("subject-missing", "ce_subject")
    return replace(received, data=data, subject=subject, trouble=missing)


def due_timer(kept: Kept, route: Due, row: Any, source: str) -> Received:
    """A due timer as a message; its cause is the event that set it."""
    envelope = Envelope(
        id=row["id"], source=source, type=f"timer:{route.name}", subject=row["subject"], time=row["due"], **row["cause"]
    )
    timer = DueTimer(route.name, row["due"], row["backlog_unread"])
    return Received(envelope, (source, row["id"]), b"", kept, route, row["subject"], timer)
