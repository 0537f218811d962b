"""`rapport publish`."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from cli.commands.options import Home, console
from cli.commands.validate import print_problems
from cli.commands.where import bootstrap_at
from cli.events.checking import BROKER_LIMIT, problems_in
from cli.events.documents import documents
from cli.events.kafka import no_broker
from cli.stack.errors import StackError
from contracts.binary import attributes_of, to_headers
from contracts.catalog import TYPES
from contracts.envelope import Envelope
from contracts.refusal import EnvelopeError
from contracts.structured import read_structured
from contracts.topics import topic_of

# The broker decides what is too large, so the client must not do it first.
_CLIENT_LIMIT = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to be sent."""

    place: str
    topic: str
    key: str
    envelope: Envelope
    value: bytes


def publish(
    file: Annotated[Path, typer.Argument(help="JSON, an array, or JSON lines; - reads what is piped in.")],
    topic: Annotated[str | None, typer.Option(help="Default: the topic of the event's type.")] = None,
    key: Annotated[str | None, typer.Option(help="Default: the subject.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="For bare data: its type.")] = None,
    source: Annotated[str | None, typer.Option(help="For bare data: who says it, such as /hospital/north.")] = None,
    subject: Annotated[str | None, typer.Option(help="For bare data: what it is about.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="For bare data. Default: a new one.")] = None,
    check: Annotated[bool, typer.Option("--validate/--no-validate", help="Send only what is valid.")] = True,
    home: Home = None,
) -> None:
    """Send events to Kafka, in binary mode, each under its subject as key; print where each one lies.

    A file holds structured CloudEvents, or bare data when --type, --source and --subject are given.

    [bold]Examples[/bold]

        rapport publish referrals.jsonl

        rapport publish choice.json --type care.rapport.clinical.choice-made.v1 --source /portal/east --subject EPISODE
    """
    given = {"type": event_type, "source": source, "subject": subject, "id": event_id}
    events = [(place, _event(document, given)) for place, document in documents(file)]
    if check:
        _refuse_invalid(file, events)
    outgoing = [_outgoing(place, event, topic, key) for place, event in events]
    asyncio.run(_send(bootstrap_at(home), outgoing))


def _event(document: Any, given: dict[str, str | None]) -> Any:
    if not isinstance(document, dict) or "specversion" in document or "resourceType" in document or not given["type"]:
        return document
    known = {name: value for name, value in given.items() if value is not None}
    now = datetime.now(UTC).isoformat()
    return {"specversion": "1.0", "id": str(uuid.uuid4()), "time": now, **known, "data": document}


def _refuse_invalid(file: Path, events: Sequence[tuple[str, Any]]) -> None:
    found = {place: problems for place, event in events if (problems := problems_in(event))}
    for place, problems in found.items():
        print_problems(f"{file}, {place}", problems)
    if found:
        raise StackError(f"nothing was sent: {len(found)} of {len(events)} events are not valid (see also --no-validate)")


def _outgoing(place: str, event: Any, topic: str | None, key: str | None) -> Outgoing:
    try:
        envelope, value = read_structured(json.dumps(event))
    except EnvelopeError as error:
        raise StackError(f"{place} is not a CloudEvent: {error}") from None
    to = topic or (topic_of(envelope.type) if envelope.type in TYPES else None)
    if to is None:
        raise StackError(f"{place}: give a --topic, its type is none of ours")
    return Outgoing(place, to, key or envelope.subject or "", envelope, value)


async def _send(bootstrap: str, outgoing: Sequence[Outgoing]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, max_request_size=_CLIENT_LIMIT)
    try:
        await producer.start()
    except KafkaError:
        await producer.stop()
        raise no_broker(bootstrap) from None
    try:
        await _check_topics(producer, outgoing)
        sent = [(one, await _queue(producer, one)) for one in outgoing]
        for one, delivery in sent:
            place = await _delivered(one, delivery)
            console.print(f"{place.topic} {place.partition} {place.offset} {one.envelope.id}", markup=False)
    finally:
        await producer.stop()


async def _queue(producer: AIOKafkaProducer, one: Outgoing) -> Any:
    headers = to_headers(attributes_of(one.envelope))
    return await producer.send(one.topic, one.value, key=one.key.encode() or None, headers=headers)


async def _check_topics(producer: AIOKafkaProducer, outgoing: Sequence[Outgoing]) -> None:
    known = (await producer.client.fetch_all_metadata()).topics()
    if missing := sorted({one.topic for one in outgoing} - known):
        raise StackError(f"there is no topic {', '.join(missing)}; deploy/kafka/topics.yaml lists them")


async def _delivered(one: Outgoing, delivery: Any) -> Any:
    try:
        return await delivery
    except MessageSizeTooLargeError:
        raise StackError(
            f"the broker refused {one.place}: its data has {len(one.value)} bytes, and a record may have "
            f"{BROKER_LIMIT} with key and headers (message.max.bytes); this event was not sent"
        ) from None
    except KafkaError as error:
        raise StackError(f"the broker did not take {one.place}: {type(error).__name__}") from None
