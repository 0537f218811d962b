"""`replay --rebuild`: the record built anew from Kafka beside the old one, and the two compared, topic by topic.

The record is evidence and only grows: it is never replaced. What only Kafka has, `replay --fill` adds; a record that both have
and that differs is for a person, and so is one that Kafka should still have.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
from aiokafka import TopicPartition
from uuid_utils import uuid7

from contracts.oversight import OperatorActed
from contracts.topics import PARTITIONS, THERAPISTS
from messaging import logs, machinery
from messaging.metrics import Meters
from messaging.replay import read_between, reading
from messaging.service import Service
from oversight import store
from oversight.app import beside, build
from oversight.consumer import TOPICS, Recorder
from oversight.settings import Settings

Say = Callable[[str], None]
_BATCH = 2000


def main(settings: Settings, actor: str, say: Say) -> int:
    """0 when Kafka and the record say the same; 1 when they differ, and the new one stays in schema `rebuilt`."""
    if settings.owner_dsn is None:
        say("set OVERSIGHT_OWNER_DSN to the DSN of the owner role: a table is built")
        return 2
    # Alarms that were raised when a record was first seen are not raised again.
    logs.configure("oversight", "critical")
    return asyncio.run(_rebuild(settings, settings.owner_dsn.get_secret_value(), actor, say))


async def _rebuild(settings: Settings, owner_dsn: str, actor: str, say: Say) -> int:
    async with beside(owner_dsn) as pool:
        await store.begin_anew(pool)
        begins, read = await _read_everything(pool, settings, say)
        differing = 0
        for row in await store.compared(pool, _begins(begins), [THERAPISTS]):
            say(_line(row))
            differing += row["only_in_kafka"] + row["only_on_record"] + row["differing"]
        if not differing:
            await store.forget_anew(pool)
    await _said(settings, actor, read)
    say("the record is what Kafka says" if not differing else f"{differing:,} differ: the new record is in schema rebuilt")
    return 1 if differing else 0


async def _read_everything(pool: "asyncpg.Pool[Any]", settings: Settings, say: Say) -> tuple[Mapping[TopicPartition, int], int]:
    """Every record there is now, through the recorder of every day, whose tables are the new ones here."""
    recorder = Recorder(pool, settings.secret_key.get_secret_value().encode(), Meters())
    async with reading(settings.kafka_bootstrap) as consumer:
        places = [TopicPartition(topic, part) for topic in TOPICS for part in range(PARTITIONS)]
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        total, read = sum(ends[tp] - begins[tp] for tp in places), 0
        say(f"oversight: {total:,} records are recorded anew")
        async for batch in read_between(consumer, begins, ends, _BATCH):
            await recorder.take(batch)
            if (read + len(batch)) // 50_000 > read // 50_000:
                say(f"  {read + len(batch):,} of {total:,}")
            read += len(batch)
    return begins, read


def _begins(begins: Mapping[TopicPartition, int]) -> list[tuple[str, int, int]]:
    return [(tp.topic, tp.partition, offset) for tp, offset in begins.items()]


def _line(row: Mapping[str, Any]) -> str:
    told = {
        "the same": row["same"], "no longer in Kafka": row["aged"], "only in Kafka": row["only_in_kafka"],
        "only on record": row["only_on_record"], "with other content": row["differing"],
    }  # fmt: skip
    return f"{row['topic']}: " + " · ".join(f"{count:,} {what}" for what, count in told.items() if count or what == "the same")


async def _said(settings: Settings, actor: str, count: int) -> None:
    service: Service = build(settings)
    await service.open()
    acted = OperatorActed(operator=actor, action="replay", reason="rebuild", count=count)
    await service.processor.handle([machinery.saying(service.routes, service.source, service.source, str(uuid7()), [acted])])
    await service.pool.close()
