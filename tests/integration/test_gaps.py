"""A missing event is noticed: whoever reads, whatever comes twice, late or in disorder, and whenever a process dies."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from tests.support import kit
from tests.support.kit import OWN_TOPIC, SOURCE, Record, Replica, during, member, publish, said, sql, until
from tests.support.stack import FreshDatabase, Infra

from messaging import machinery
from messaging.consumer import Consumer
from messaging.gaps import Announcer, Heard, open_gaps

INTAKE, TOPIC = "/rapport/intake", "intake.events.v1"
machinery.add_to(kit.ROUTES)


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


def number(n: int, subject: str = "s-1", source: str = INTAKE, **where: Any) -> Any:
    """A record that only carries its number."""
    return said(f"{n}", subject, source=source, sequence=n, **{"topic": TOPIC, "offset": n - 1, **where})


class Beginning:
    """As much of a Kafka consumer as tells where its partitions begin."""

    def __init__(self, at: int = 0) -> None:
        self._at = at

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self._at)


def hearing(database: FreshDatabase, scenario: Callable[[Heard, Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with asyncpg.create_pool(database.runtime_dsn, min_size=1, max_size=2) as pool:
            return await scenario(Heard(pool), pool)

    return asyncio.run(run())


async def hear(heard: Heard, *numbers: int, begins: int = 0, **how: Any) -> None:
    heard.noted([number(n, **how) for n in numbers])
    await heard.flush(Beginning(begins))


async def missing(pool: Any) -> list[tuple[str, int, int]]:
    return [(gap["subject"], gap["first"], gap["last"]) for gap in await open_gaps(pool, 100)]


def test_numbers_in_order_leave_no_gap_and_hearing_them_again_changes_nothing(database: FreshDatabase) -> None:
    async def scenario(heard: Heard, pool: Any) -> None:
        await hear(heard, 1, 2, 3)
        await hear(heard, 4)
        rows = await pool.fetch("SELECT *, xmin::text FROM messaging.heard")
        await hear(heard, 1, 2, 3, 4)
        await hear(heard, 2)
        assert await pool.fetch("SELECT *, xmin::text FROM messaging.heard") == rows
        assert [row["last"] for row in rows] == [4]
        assert await missing(pool) == []

    hearing(database, scenario)


def test_a_number_that_is_jumped_over_is_a_gap_until_it_arrives_after_all(database: FreshDatabase) -> None:
    async def scenario(heard: Heard, pool: Any) -> None:
        await hear(heard, 1, 2, 6)
        assert await missing(pool) == [("s-1", 3, 5)]
        await hear(heard, 4, 9)
        assert await missing(pool) == [("s-1", 3, 3), ("s-1", 5, 5), ("s-1", 7, 8)]
        await hear(heard, 3, 5, 7, 8)
        assert await missing(pool) == []

    hearing(database, scenario)


def test_a_first_number_above_one_is_a_gap(database: FreshDatabase) -> None:
    async def scenario(heard: Heard, pool: Any) -> None:
        await hear(heard, 3)
        assert await missing(pool) == [("s-1", 1, 2)]

    hearing(database, scenario)


def test_what_retention_took_before_a_partition_was_first_heard_is_nobodys_gap(database: FreshDatabase) -> None:
    async def scenario(heard: Heard, pool: Any) -> None:
        await hear(heard, 501, begins=500)
        await hear(heard, 502, 504, begins=500)
        assert await missing(pool) == [("s-1", 503, 503)]

    hearing(database, scenario)


def test_what_was_skipped_before_a_partition_was_first_heard_is_a_gap(database: FreshDatabase) -> None:
    async def scenario(heard: Heard, pool: Any) -> None:
        await hear(heard, 501, begins=0)
        assert await missing(pool) == [("s-1", 1, 500)]

    hearing(database, scenario)


def test_the_same_number_of_another_source_or_subject_is_another_number(database: FreshDatabase) -> None:
    async def scenario(heard: Heard, pool: Any) -> None:
        await hear(heard, 1, 2)
        await hear(heard, 1, subject="s-2")
        await hear(heard, 2, source="/rapport/matching", topic="matching.events.v1")
        assert await missing(pool) == [("s-1", 1, 1)]

    hearing(database, scenario)


def test_records_without_a_number_of_their_owner_are_passed_over(database: FreshDatabase) -> None:
    odd = [
        said("inbound", sequence=7, source=INTAKE),
        said("foreign", sequence=7, source="/rapport/matching", topic=TOPIC),
        Record((("ce_source", INTAKE.encode()), ("ce_subject", b"s-1"), ("ce_sequence", b"many")), b"", TOPIC),
        Record((("ce_source", INTAKE.encode()), ("ce_subject", b"s-1"), ("ce_sequence", b"9" * 30)), b"", TOPIC),
        Record((("ce_source", INTAKE.encode()), ("ce_subject", b"\xff"), ("ce_sequence", b"7")), b"", TOPIC),
        Record((("ce_source", INTAKE.encode()), ("ce_subject", b"a\0b"), ("ce_sequence", b"7")), b"", TOPIC),
        Record((("ce_source", INTAKE.encode()), ("ce_subject", b"x" * 9999), ("ce_sequence", b"7")), b"", TOPIC),
        Record((("ce_source", INTAKE.encode()), ("ce_subject", None), ("ce_sequence", None)), None, TOPIC),
    ]

    async def scenario(heard: Heard, pool: Any) -> None:
        heard.noted([*odd, number(1)])
        await heard.flush(Beginning())
        assert await pool.fetchval("SELECT array_agg(subject) FROM messaging.heard") == ["s-1"]
        assert await missing(pool) == []

    hearing(database, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_order_the_missing_are_those_below_the_largest_that_were_not_heard(
    database: FreshDatabase, seed: int
) -> None:
    """Two processes hear the same numbers in disorder, twice, and sometimes cannot write."""
    chance = random.Random(seed)
    subjects = [f"s-{n}" for n in range(4)]
    told: dict[str, set[int]] = {subject: set() for subject in subjects}

    async def scenario(unused: Heard, pool: Any) -> None:
        class Failing:
            """A pool that is sometimes away."""

            def __getattr__(self, name: str) -> Any:
                if name == "execute" and chance.random() < 0.3:
                    raise ConnectionError
                return getattr(pool, name)

        both = [Heard(Failing()), Heard(Failing())]  # type: ignore[arg-type]
        for _ in range(120):
            subject, n = chance.choice(subjects), chance.randint(1, 40)
            told[subject].add(n)
            chance.choice(both).noted([number(n, subject)])
            if chance.random() < 0.4:
                await asyncio.gather(*(h.flush(Beginning()) for h in both), return_exceptions=True)
        await until(lambda: flushed(both[0]))
        await until(lambda: flushed(both[1]))
        for subject, numbers in told.items():
            row = await pool.fetchrow("SELECT last, missing::text FROM messaging.heard WHERE subject = $1", subject)
            assert row["last"] == max(numbers)
            gaps = {n for s, low, high in await missing(pool) if s == subject for n in range(low, high + 1)}
            assert gaps == set(range(1, max(numbers))) - numbers

    async def flushed(heard: Heard) -> bool:
        try:
            await heard.flush(Beginning())
        except ConnectionError:
            return False
        return True

    hearing(database, scenario)


def announcer(replica: Replica) -> Announcer:
    return Announcer(replica.pool, replica.processor, replica.routes, SOURCE, replica.meters)


def said_about(database: FreshDatabase, subject: str) -> list[tuple[str, int]]:
    rows = sql(
        database,
        """SELECT messaging.outbox_sequence(headers) AS sequence, convert_from(value, 'UTF8')::jsonb AS said
             FROM messaging.outbox WHERE topic = $1 AND key = $2 ORDER BY n""",
        OWN_TOPIC,
        subject,
    )
    return [(_told(row["said"]), row["sequence"]) for row in rows]


def _told(body: str) -> str:
    data = json.loads(body)
    return f"{data['first']}-{data['last']}{' closed' if data['closed'] else ''}" if "first" in data else data["word"]


def test_a_gap_is_announced_once_by_whichever_process_and_on_the_counter_of_its_subject(database: FreshDatabase) -> None:
    async def scenario(*made: Replica) -> None:
        await made[0].handle(said("before", do="open"))
        heard = Heard(made[0].pool)
        await hear(heard, 1, 4, 6)
        await asyncio.gather(*(announcer(replica).turn() for replica in made))
        await hear(heard, 3, 5)
        await asyncio.gather(*(announcer(replica).turn() for replica in made))
        await made[1].handle(said("after"))
        assert [await announcer(replica).turn() for replica in made] == [0, 0, 0]
        assert made[0].meters.registry.get_sample_value("gaps_open") == 1

    during(database, scenario, count=3)
    assert sorted(said_about(database, "s-1"), key=lambda told: told[1]) == [
        ("before", 1), ("2-3", 2), ("5-5", 3), ("3-3 closed", 4), ("5-5 closed", 5), ("after", 6),
    ]  # fmt: skip


def test_a_gap_among_what_a_source_says_about_itself_does_not_touch_the_service_s_own_subjects(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await hear(Heard(replica.pool), 2, subject=INTAKE)
        await announcer(replica).turn()

    during(database, scenario)
    assert said_about(database, INTAKE) == [("1-1", 1)]
    assert [row["kind"] for row in sql(database, "SELECT kind FROM messaging.state")] == ["machinery"]


def test_a_gap_that_closed_before_it_was_announced_is_not_spoken_of(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        heard = Heard(replica.pool)
        await hear(heard, 2)
        await hear(heard, 1)
        assert await announcer(replica).turn() == 0
        assert await replica.pool.fetchval("SELECT count(*) FROM messaging.heard WHERE noticed_at IS NOT NULL") == 0

    during(database, scenario)
    assert said_about(database, "s-1") == []


@pytest.fixture
def topic(infra: Infra) -> str:
    return infra.topics(["heard"], partitions=2)["heard"]


async def _taken(_: Sequence[Any]) -> None:
    """Everything is fine with us."""


async def committed(bootstrap: str, group: str, topic: str) -> int | None:
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await reader.start()
    try:
        offset: int | None = await reader.committed(TopicPartition(topic, 0))
        return offset
    finally:
        await reader.stop()


class Owner:
    """A member to which the topic of this test is intake's."""

    def __init__(self, replica: Replica, bootstrap: str, topic: str) -> None:
        self._replica, self._bootstrap, self._topic = replica, bootstrap, topic
        self.heard = Heard(replica.pool, {topic: INTAKE})

    async def __aenter__(self) -> Any:
        self._member = member(replace(self._replica, deciding=self), self._bootstrap, self._topic, self._topic)  # type: ignore[arg-type]
        joined = await self._member.__aenter__()
        joined._heard, joined._consumer._noted = self.heard, self.heard.noted
        return joined

    async def __aexit__(self, *why: Any) -> None:
        await self._member.__aexit__(*why)

    take = park = staticmethod(_taken)
    ahead = None


async def last(pool: Any) -> int:
    return await pool.fetchval("SELECT coalesce(max(last), 0) FROM messaging.heard")  # type: ignore[no-any-return]


def test_offsets_are_not_committed_before_their_numbers_are_written_down(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    async def away(_: Any) -> None:
        raise ConnectionError

    async def scenario(replica: Replica) -> None:
        await publish(infra.bootstrap, topic, [number(n) for n in (1, 2, 4)])
        first = Owner(replica, infra.bootstrap, topic)
        first.heard.flush = away  # type: ignore[assignment,method-assign]
        async with first as dying:
            await until(lambda: asyncio.sleep(0, dying._consumer.handled.get(TopicPartition(topic, 0)) == 3))
            await asyncio.sleep(0.5)
        assert await committed(infra.bootstrap, topic, topic) is None
        async with Owner(replica, infra.bootstrap, topic):
            await until(lambda: last(replica.pool))
        assert await committed(infra.bootstrap, topic, topic) == 3
        assert await missing(replica.pool) == [("s-1", 3, 3)]

    during(database, scenario)


def test_a_record_that_killed_its_readers_and_was_parked_unread_is_no_gap(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        heard = Heard(replica.pool)
        await Consumer(replica.deciding.park, replica.meters, heard.noted).take([number(1), number(2)])
        await heard.flush(Beginning())
        assert await last(replica.pool) == 2
        assert await missing(replica.pool) == []

    during(database, scenario)


def test_a_batch_that_was_given_up_was_not_heard(database: FreshDatabase) -> None:
    async def fails(_: Sequence[Any]) -> None:
        raise ConnectionError

    async def scenario(replica: Replica) -> None:
        heard = Heard(replica.pool)
        consumer = Consumer(fails, replica.meters, heard.noted)
        taking = asyncio.create_task(consumer.take([number(1)]))
        await asyncio.sleep(0.1)
        consumer.given_up.set()
        await taking
        await heard.flush(Beginning())
        assert await last(replica.pool) == 0

    during(database, scenario)


def test_a_member_whose_topic_gets_more_partitions_is_not_ready_and_reads_no_further(
    infra: Infra, database: FreshDatabase, topic: str
) -> None:
    async def scenario(replica: Replica) -> None:
        await publish(infra.bootstrap, topic, [number(1)])
        async with Owner(replica, infra.bootstrap, topic) as joined:
            await until(lambda: last(replica.pool))
            assert joined.missing() is None
            admin = AIOKafkaAdminClient(bootstrap_servers=infra.bootstrap)
            await admin.start()
            await admin.create_partitions({topic: NewPartitions(3)})
            await admin.close()
            await joined._subscriber.consumer._client.force_metadata_update()
            await until(lambda: asyncio.sleep(0, joined.missing()))
            assert joined.missing() == f"{topic} has 3 partitions and had 2"
            await publish(infra.bootstrap, topic, [number(2)])
            await asyncio.sleep(1)
        assert await last(replica.pool) == 1
        assert await committed(infra.bootstrap, topic, topic) == 1

    during(database, scenario)
