"""Whoever reads about one client is put on the record first."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from fastapi import Header

from contracts.envelope import Envelope
from contracts.vocabulary import PRINTABLE
from messaging.http import answered
from messaging.service import Service
from oversight.handlers import ReadRecord

Actor = Annotated[str, Header(alias="X-Actor", min_length=1, max_length=100, pattern=PRINTABLE, description="who reads")]
Purpose = Annotated[str, Header(alias="X-Purpose", min_length=1, max_length=60, pattern=r"^[a-z0-9-]+$")]


async def read_by(service: Service, episode: str, actor: str, purpose: str, entries: int) -> None:
    """Says LedgerRead; nothing may be shown before this returns."""
    command = ReadRecord(reader=actor, purpose=purpose, entries=entries)
    now, source = datetime.now(UTC), f"{service.source}/http"
    asked = Envelope(id=str(uuid4()), source=source, type=command.type, subject=episode, time=now, actor=actor)
    answered(await service.door.handle(asked, command))
