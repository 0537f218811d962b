"""The record on real PostgreSQL: every event once, in batches, and nobody who runs the service can change it."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from tests.support.journeys import EPISODE, whole_journey
from tests.support.kept import on_empty_ledger
from tests.support.stack import FreshDatabase, Infra

from contracts.binary import Headers, attributes_of, to_headers
from contracts.custody import Recorded
from contracts.topics import OWNED
from messaging.metrics import Meters
from messaging.migrate import migrate
from oversight import custody_store
from oversight.consumer import Recorder

TOPICS = {source: topic for topic, source in OWNED.items()}


@dataclass(frozen=True)
class Record:
    topic: str
    headers: Headers
    value: bytes | None
    partition: int
    offset: int


def records_of(events: list[Recorded]) -> list[Record]:
    return [
        Record(TOPICS[e.source], to_headers(attributes_of(e)), d.model_dump_json(exclude_none=True).encode(), 0, number)
        for number, (e, d) in enumerate(events)
    ]


@pytest.fixture(scope="module")
def database(infra: Infra) -> FreshDatabase:
    fresh = infra.database()
    migrate(fresh.owner_dsn, "oversight")
    return fresh


@pytest.fixture
def use(database: FreshDatabase) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    return on_empty_ledger(database)


def test_a_batch_recorded_twice_is_there_once_and_reads_back_in_order(use: Any) -> None:
    events = whole_journey().events

    async def act(pool: Any) -> Any:
        recorder = Recorder(pool, b"k" * 16, Meters())
        await recorder.take(records_of(events))
        await recorder.take(records_of(events[::-1]))
        return await custody_store.episode(pool, EPISODE, None)

    rows = use(act)
    assert [json.loads(attributes)["id"] for attributes, _ in rows] == [envelope.id for envelope, _ in events]
    assert [data for _, data in rows] == [record.value for record in records_of(events)]


def test_the_same_identity_with_other_content_is_an_alarm_and_the_first_one_stays(use: Any) -> None:
    meters = Meters()
    first, *_ = records_of(whole_journey().events)
    other = Record(first.topic, first.headers, b"{}", 0, 99)

    async def act(pool: Any) -> Any:
        recorder = Recorder(pool, b"k" * 16, meters)
        await recorder.take([first])
        await recorder.take([other])
        await recorder.take([first])
        return await pool.fetch("SELECT data FROM entry")

    assert [row["data"] for row in use(act)] == [first.value]
    assert meters.registry.get_sample_value("identity_conflicts_total") == 1


def test_a_record_that_the_database_refuses_is_kept_by_its_place_and_holds_nobody_up(use: Any) -> None:
    good = records_of(whole_journey().events)
    headers = [(name, b"a\x00b" if name == "ce_type" else raw) for name, raw in good[0].headers]
    nul = [(name, b"a\x00b" if name == "ce_id" else raw) for name, raw in good[0].headers]
    bad = [Record(good[0].topic, headers, b"{}", 1, 1), Record(good[0].topic, nul, b"{}", 1, 2)]

    async def act(pool: Any) -> Any:
        await Recorder(pool, b"k" * 16, Meters()).take([*good[:3], *bad, *good[3:]])
        return await pool.fetch("SELECT source, id FROM entry ORDER BY index")

    found = [(row["source"], row["id"]) for row in use(act)]
    assert len(found) == len(good) + 2
    assert {("kafka:intake.events.v1", "1-1"), ("kafka:intake.events.v1", "1-2")} <= set(found)


FORBIDDEN = [
    *(f"{words} {name}" for words in ("DELETE FROM", "TRUNCATE", "DROP TABLE") for name in ("entry", "subtree", "checkpoint")),
    "UPDATE entry SET id = 'x'", "UPDATE subtree SET level = 8", "UPDATE checkpoint SET size = 1", "DELETE FROM frontier",
]  # fmt: skip


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_runtime_role_cannot_change_the_record(use: Any, statement: str) -> None:
    async def act(pool: Any) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)

    use(act)
