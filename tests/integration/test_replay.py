"""What a service missed is applied after all, once and in order, beside the living service, which keeps its place."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.support.kit import Record, sql, until
from tests.support.stack import FreshDatabase, Infra

from contracts import clinical, matching
from contracts.binary import attributes_of, to_headers
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.topics import CLINICAL, MATCHING
from contracts.vocabulary import Need
from followup.app import build
from followup.settings import Settings
from messaging.migrate import migrate
from messaging.outbox import shard_of
from messaging.replay import Fill, Tally, Wish
from messaging.service import Service

GROUP = "rapport-followup"


@pytest.fixture(scope="module")
def settings(infra: Infra) -> Settings:
    database = infra.database()
    migrate(database.owner_dsn, "followup")
    return Settings.model_validate(
        {
            "postgres_dsn": database.runtime_dsn, "owner_dsn": database.owner_dsn, "kafka_bootstrap": infra.bootstrap,
            "secret_key": "only-for-this-test", "http_port": 0, "log_level": "critical",
        }
    )  # fmt: skip


def database_of(settings: Settings) -> FreshDatabase:
    assert settings.owner_dsn
    return FreshDatabase("", settings.owner_dsn.get_secret_value(), settings.postgres_dsn.get_secret_value())


def offered(episode: str, number: int) -> Record:
    """Matching hands an episode to followup; its number among what matching says about it."""
    offer = matching.HandoffOffered(
        handoff_id=str(uuid.uuid4()), giver="matching", receiver="followup", attempt=1, kind="followup", arbiter="matching",
        deadline=datetime.now(UTC) + timedelta(hours=1), consent_basis="treatment",
        need=Need(problem_area="anxiety", age_band="adult"), therapist_id="t-1",
    )  # fmt: skip
    return record(MATCHING, "/rapport/matching", episode, offer, number)


def declined(episode: str, number: int) -> Record:
    """Something that matching says and that is not followup's concern."""
    event = matching.MatchDeclined(offer_id=str(uuid.uuid4()), therapist_id="t-1", reason="full")
    return record(MATCHING, "/rapport/matching", episode, event, number)


def session(episode: str, session_id: str) -> Record:
    held = clinical.SessionRecorded(session_id=session_id, held_at=datetime.now(UTC) - timedelta(hours=1))
    return record(CLINICAL, "/portal/test", episode, held)


def record(topic: str, source: str, episode: str, data: Event, number: int | None = None) -> Record:
    envelope = Envelope(
        id=str(uuid.uuid4()), source=source, type=data.type, subject=episode, time=datetime.now(UTC), sequence=number
    )  # fmt: skip
    return Record(tuple(to_headers(attributes_of(envelope))), data.model_dump_json().encode(), topic, shard_of(episode))


async def send(settings: Settings, records: Sequence[Record]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, acks="all") as producer:
        for each in records:
            await producer.send_and_wait(each.topic, each.value, partition=each.partition, headers=list(each.headers))


@asynccontextmanager
async def living(settings: Settings) -> AsyncIterator[Service]:
    """The service as it always runs, but for its HTTP."""
    service = build(settings)
    running = asyncio.create_task(service.run(("consume", "relay", "timers")))
    try:
        await until(lambda: asyncio.sleep(0, hasattr(service, "membership")))
        yield service
    finally:
        service.stopping.set()
        await asyncio.wait_for(running, 30)


async def skip_to_the_end(settings: Settings) -> None:
    """What an operator must never do: the group's offsets are set behind everything that is there."""
    reader = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, group_id=GROUP, enable_auto_commit=False)
    await reader.start()
    places = [TopicPartition(topic, part) for topic in (MATCHING, CLINICAL) for part in range(12)]
    reader.assign(places)
    await reader.commit(dict(await reader.end_offsets(places)))
    await reader.stop()


async def offsets(settings: Settings) -> dict[TopicPartition, int | None]:
    reader = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, group_id=GROUP, enable_auto_commit=False)
    await reader.start()
    places = [TopicPartition(topic, part) for topic in (MATCHING, CLINICAL) for part in range(12)]
    found = {tp: await reader.committed(tp) for tp in places}
    await reader.stop()
    return found


async def filled(settings: Settings, wish: Wish | None = None) -> Tally:
    """A process of its own applies what is missing."""
    service = build(settings)
    await service.open()
    try:
        return await Fill(service, wish or Wish("an-operator"), lambda _: None).run()
    finally:
        await service.pool.close()


async def sessions(service: Service, episode: str) -> list[str]:
    """The sessions on an episode's plan, in the order in which they were written down."""
    body = await service.pool.fetchval("SELECT body FROM messaging.state WHERE subject = $1 AND kind = 'plan'", episode)
    return [each["id"] if "id" in each else each["session_id"] for each in json.loads(body)["sessions"]] if body else []


async def gap(service: Service, episode: str) -> str | None:
    row = await service.pool.fetchrow("SELECT missing::text, noticed_at FROM messaging.heard WHERE subject = $1", episode)
    return str(row["missing"]) if row and row["noticed_at"] else None


def said(settings: Settings, name: str, subject: str) -> list[dict[str, Any]]:
    rows = sql(
        database_of(settings),
        "SELECT headers, value FROM messaging.outbox WHERE key = $1 ORDER BY n",
        subject,
    )
    return [json.loads(row["value"]) for row in rows if f".{name}.v1" in row["headers"]]


def test_what_was_skipped_is_noticed_and_applied_after_all_in_order_and_once(settings: Settings) -> None:
    episode = str(uuid.uuid4())

    async def scenario() -> tuple[Tally, Tally]:
        async with living(settings) as service:
            await send(settings, [declined(episode, 1)])
            await until(lambda: service.pool.fetchval("SELECT 1 FROM messaging.heard WHERE subject = $1", episode), 40)
        await send(settings, [offered(episode, 2), *(session(episode, f"s-{n}") for n in (1, 2, 3))])
        await skip_to_the_end(settings)
        async with living(settings) as service:
            await send(settings, [declined(episode, 3)])
            assert await until(lambda: gap(service, episode), 40) == "{[2,3)}"
            await until(lambda: asyncio.to_thread(said, settings, "gap-found", episode))
            assert await sessions(service, episode) == []
            before = await offsets(settings)
            first = await filled(settings)
            assert await offsets(settings) == before
            await until(lambda: nothing_missing(service, episode), 20)
            assert await until(lambda: sessions_of(service, episode, 3)) == ["s-1", "s-2", "s-3"]
            second = await filled(settings)
            assert await sessions(service, episode) == ["s-1", "s-2", "s-3"]
        return first, second

    async def nothing_missing(service: Service, episode: str) -> bool:
        return await gap(service, episode) is None

    async def sessions_of(service: Service, episode: str, count: int) -> list[str] | None:
        found = await sessions(service, episode)
        return found if len(found) == count else None

    first, second = asyncio.run(scenario())
    assert first.applied >= 4
    assert second.applied == 0
    assert second.read == second.outcomes["duplicate"] + second.outcomes["passed over"]
    gaps = [(told["first"], told["last"], told["closed"]) for told in said(settings, "gap-found", episode)]
    assert gaps == [(2, 2, False), (2, 2, True)]
    acted = said(settings, "operator-acted", "/rapport/followup")
    assert [(told["operator"], told["action"], told["count"]) for told in acted] == [
        ("an-operator", "replay", first.applied), ("an-operator", "replay", 0),
    ]  # fmt: skip


def test_what_the_living_group_has_not_read_yet_is_left_to_it(settings: Settings) -> None:
    episode = str(uuid.uuid4())

    async def scenario() -> Tally:
        await send(settings, [offered(episode, 1)])
        return await filled(settings)

    assert asyncio.run(scenario()).applied == 0
    assert sql(database_of(settings), "SELECT 1 FROM messaging.state WHERE subject = $1", episode) == []


def test_only_the_topic_and_the_time_that_were_asked_for_are_read_again(settings: Settings) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    async def scenario() -> list[int]:
        wishes = [Wish("an-operator", topic, since) for topic, since in ((CLINICAL, None), (MATCHING, None), (None, tomorrow))]
        return [(await filled(settings, wish)).read for wish in [Wish("an-operator"), *wishes]]

    everything, of_clinical, of_matching, of_tomorrow = asyncio.run(scenario())
    assert of_clinical >= 3
    assert of_matching >= 3
    assert everything == of_clinical + of_matching
    assert of_tomorrow == 0


def test_what_the_inbox_may_have_forgotten_is_not_done_again(settings: Settings) -> None:
    async def scenario() -> Tally:
        service = build(settings)
        await service.open()
        await service.pool.execute("INSERT INTO messaging.pruned (what, before) VALUES ('inbox', now() + interval '1 minute')")
        await service.pool.close()
        return await filled(settings)

    tally = asyncio.run(scenario())
    assert (tally.applied, tally.outcomes["duplicate"]) == (0, 0)
    sql(database_of(settings), "DELETE FROM messaging.pruned RETURNING 1")


def test_a_record_that_was_parked_unread_is_not_read_by_a_replay(settings: Settings) -> None:
    async def scenario() -> Tally:
        service = build(settings)
        await service.open()
        await service.pool.execute(
            """INSERT INTO messaging.inbox (source, id, digest, outcome, at)
               SELECT 'kafka:' || $1, part || '-' || position, '', 'parked', now()
                 FROM generate_series(0, 11) part, generate_series(0, 3000) position ON CONFLICT DO NOTHING""",
            CLINICAL,
        )
        taken: list[Any] = []
        fill = Fill(service, Wish("an-operator", topic=CLINICAL), lambda _: None)
        object.__setattr__(service.recording, "take", lambda records: _never(taken, records))
        tally = await fill.run()
        await service.pool.close()
        assert taken == []
        return tally

    assert asyncio.run(scenario()).outcomes["duplicate"] >= 3


async def _never(taken: list[Any], records: Sequence[Any]) -> None:
    taken += records
