"""The common way: a FastStream handler for each event, one transaction and one awaited publish in it, then the ack."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from bench.limit.load import INBOUND, OUTBOUND, Moved, Noted
from bench.limit.race import Lane, Stopwatch, run

COUNT = """
    INSERT INTO state (subject, moved) VALUES ($1, 1) ON CONFLICT (subject) DO UPDATE SET moved = state.moved + 1"""
CLAIM = "INSERT INTO inbox (source, id, at) VALUES ($1, $2, now()) ON CONFLICT DO NOTHING RETURNING true"


async def move(lane: Lane, watch: Stopwatch) -> None:
    """Handles so many events, one after the other."""
    broker = KafkaBroker(lane.bootstrap, acks="all", enable_idempotence=True, logger=None)
    done, ended = 0, asyncio.Event()
    pool = await asyncpg.create_pool(lane.dsn, min_size=2, max_size=2)

    @broker.subscriber(INBOUND, group_id=lane.group, ack_policy=AckPolicy.ACK, auto_offset_reset="earliest")
    async def on_moved(event: Moved, message: KafkaMessage) -> None:
        nonlocal done
        if not done:
            watch.start()
        done += 1
        had: dict[str, Any] = message.headers
        async with pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(CLAIM, had["ce_source"], had["ce_id"]):
                await connection.execute(COUNT, had["ce_subject"])
            said = {**had, "ce_id": str(uuid4()), "ce_type": Noted.type, "ce_causationid": had["ce_id"]}
            await broker.publish(
                Noted(number=event.number, text=event.text), OUTBOUND, key=had["ce_subject"].encode(), headers=said
            )
        if done == lane.count:
            watch.stop()
            ended.set()

    await broker.start()
    await ended.wait()
    await broker.stop()
    await pool.close()


if __name__ == "__main__":
    run(move)
