"""The whole way of one event is short enough to be read in one sitting."""

import asyncio
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.support.stack import Infra

from contracts import clinical, matching
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.topics import CLINICAL, FOLLOWUP, MATCHING
from contracts.vocabulary import Need
from followup.app import build
from followup.settings import Settings
from messaging.consumer import Consumer, Deciding
from messaging.migrate import migrate
from messaging.service import Service

ROOT = Path(__file__).parents[2]
MOST_LINES = 700


@dataclass(frozen=True)
class _Record:
    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    timestamp_type: int = 1


def _record(topic: str, source: str, episode: str, data: Event) -> Any:
    now = datetime.now(UTC)
    envelope = Envelope(id=str(uuid.uuid4()), source=source, type=data.type, subject=episode, time=now)
    headers = tuple(to_headers(attributes_of(envelope)))
    return _Record(topic, 0, 0, int(now.timestamp() * 1000), headers, data.model_dump_json().encode())


def _handoff(episode: str) -> Any:
    offered = matching.HandoffOffered(
        handoff_id=str(uuid.uuid4()), giver="matching", receiver="followup", attempt=1, kind="followup", arbiter="matching",
        deadline=datetime.now(UTC), consent_basis="treatment", need=Need(problem_area="anxiety", age_band="adult"),
        therapist_id="t-1",
    )  # fmt: skip
    return _record(MATCHING, "/rapport/matching", episode, offered)


def _session(episode: str) -> Any:
    held = clinical.SessionRecorded(session_id="s-1", held_at=datetime.now(UTC) - timedelta(hours=1))
    return _record(CLINICAL, "/portal/test", episode, held)


class Traced:
    """Collects every file of ours in which a function is entered."""

    def __init__(self) -> None:
        self.files: set[Path] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_absolute() and path.is_relative_to(ROOT) and path.suffix == ".py":
            self.files.add(path)

    def __enter__(self) -> "Traced":
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def _lines(path: Path) -> int:
    """Lines to read: what is not blank."""
    return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


async def _one_event(service: Service, first: Any, traced_one: Any) -> set[Path]:
    """A first event makes the plan and opens the producer; the second is traced, as any event of a running service goes."""
    await service.open()
    consumer = Consumer(Deciding(service.routes, service.processor, service.meters).take, service.meters)
    await consumer.take([first])
    assert await service.relay.turn() == 2, "HandoffAnswered and PlanActivated"
    service.lease.look_at = inf  # Nobody else writes to its outbox, so it need not look for that just now.
    with Traced() as traced:
        await consumer.take([traced_one])
        relayed = await service.relay.turn()
    assert relayed == 1, "SessionRecorded"
    await service.relay.discard_producer()
    await service.pool.close()
    return {path for path in traced.files if "tests" not in path.parts and ".venv" not in path.parts}


async def _said_about(bootstrap: str, episode: str, count: int) -> list[str]:
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await reader.start()
    reader.assign([TopicPartition(FOLLOWUP, n) for n in range(12)])
    said: list[str] = []
    while len(said) < count:
        for records in (await reader.getmany(timeout_ms=500)).values():
            said += [dict(r.headers)["ce_type"].decode() for r in records if r.key == episode.encode()]
    await reader.stop()
    return said


@pytest.fixture
def settings(infra: Infra) -> Settings:
    database = infra.database()
    migrate(database.owner_dsn, "followup")
    return Settings.model_validate(
        {"postgres_dsn": database.runtime_dsn, "kafka_bootstrap": infra.bootstrap, "secret_key": "only-for-this-test"}
    )


def test_the_way_of_one_event_from_kafka_to_kafka_is_at_most_700_lines(
    infra: Infra, settings: Settings, record_property: Callable[[str, object], None]
) -> None:
    episode = str(uuid.uuid4())
    files = asyncio.run(_one_event(build(settings), _handoff(episode), _session(episode)))
    way = {str(path.relative_to(ROOT)): _lines(path) for path in sorted(files)}
    record_property("lines", sum(way.values()))
    told = "\n".join(f"{count:5} {name}" for name, count in way.items())
    assert asyncio.run(_said_about(infra.bootstrap, episode, 3)) == [
        "care.rapport.followup.handoff-answered.v1", "care.rapport.followup.plan-activated.v1",
        "care.rapport.followup.session-recorded.v1",
    ]  # fmt: skip
    assert any(name.endswith("followup/handlers.py") for name in way), told
    assert sum(way.values()) <= MOST_LINES, f"{sum(way.values())} lines\n{told}"
