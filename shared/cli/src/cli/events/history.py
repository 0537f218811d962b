"""Events grouped by episode, from a file or from the owners' topics."""

import json
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.events.documents import documents
from cli.stack.errors import StackError
from contracts.catalog import TYPES
from contracts.custody import Recorded
from contracts.event import REGISTRY
from contracts.record import read_record
from contracts.refusal import EnvelopeError
from contracts.structured import read_structured

Episodes = dict[str, list[Recorded]]


def recorded_of(members: Any) -> Recorded | None:
    """A structured CloudEvent as envelope and event; None for a type this version does not know."""
    envelope, data = read_structured(json.dumps(members))
    return (envelope, REGISTRY[envelope.type].model_validate_json(data)) if envelope.type in TYPES else None


def history_in(path: Path) -> Episodes:
    """The episodes of a file of structured CloudEvents, as `rapport tail --json` writes it."""
    episodes: Episodes = {}
    for place, members in documents(path):
        try:
            _add(episodes, recorded_of(members))
        except EnvelopeError as error:
            raise StackError(f"{path}, {place}: {error}") from None
        except ValidationError:
            raise StackError(f"{path}, {place}: the data does not hold its schema; see rapport validate") from None
    return episodes


async def history_of(records: AsyncIterator[Any]) -> Episodes:
    """The episodes of Kafka records; what cannot be read is somebody else's finding."""
    episodes: Episodes = {}
    async for record in records:
        try:
            envelope, data = read_record(record.headers, record.value)
            if envelope.type in TYPES:
                _add(episodes, (envelope, REGISTRY[envelope.type].model_validate_json(data)))
        except (EnvelopeError, ValidationError):
            continue
    return episodes


def times_of(episodes: Episodes) -> Iterable[datetime]:
    """The times of all events."""
    return (envelope.time for events in episodes.values() for envelope, _ in events)


def _add(episodes: Episodes, recorded: Recorded | None) -> None:
    if recorded and recorded[0].subject:
        episodes.setdefault(recorded[0].subject, []).append(recorded)
