"""Reads records and commands into messages, each with its route and the subject it is decided under."""

from contracts.envelope import Envelope
from contracts.record import read_record
from contracts.topics import OWNED, RESERVED
from messaging import unreadable
from messaging.message import Received, Record, Trouble
from messaging.routes import Routes


def read(record: Record, routes: Routes) -> Received | None:
    """What a record asks of this service: None for events that are somebody else's concern; it never raises."""
    try:
        return _read(record, routes)
    except Exception as error:
        return unreadable.because(record, error)


def _read(record: Record, routes: Routes) -> Received | None:
    if dict(record.headers).get("ce_type") in routes.others:
        return None
    envelope, value = read_record(record.headers, record.value)
    if envelope.type not in routes.events or envelope.type in routes.commands:
        return unreadable.unrouted(record, envelope, routes)
    owner = OWNED.get(record.topic)
    if envelope.source == owner or not (owner or envelope.source.startswith(RESERVED)):
        return bind(envelope, value, routes, record)
    barred = unreadable.barred(record, envelope)
    if isinstance(barred, Trouble):
        return unreadable.by_place(record, barred)
    return bind(envelope, value, routes, record, barred)


def bind(
    envelope: Envelope, value: bytes, routes: Routes, record: Record | None = None, claim: tuple[str, str] | None = None
) -> Received:
    """The typed message for its route, with the subject it is decided under; raises KeyError without a route."""
    kept, route = routes.events[envelope.type]
    received = Received(envelope, claim or (envelope.source, envelope.id), value, kept, route, envelope.subject, record=record)
    if b"\\u0000" in value:
        return unreadable.invalid(received)
    try:
        received.data = route.event.model_validate_json(value)
    except ValueError as error:
        return unreadable.invalid(received, error)
    if route.subject:
        received.subject = route.subject(received.data)
    if not received.subject:
        received.trouble = Trouble("subject-missing", "ce_subject")
    return received
