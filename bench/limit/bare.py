"""The bare way: aiokafka and asyncpg by hand, one function call per batch of 500, the relay in the same process, no kit."""

import asyncio
import json
from collections import defaultdict
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.limit.load import INBOUND, OUTBOUND, Noted
from bench.limit.race import Lane, Stopwatch, run
from messaging.outbox import shard_of

NEXT = """
    SELECT r.shard, o.n, o.key, o.headers, o.value
      FROM relay r CROSS JOIN LATERAL (
           SELECT * FROM outbox o WHERE o.shard = r.shard AND o.n > r.sent ORDER BY o.n LIMIT 500) o ORDER BY r.shard, o.n"""
MOVE = "UPDATE relay SET sent = m.sent FROM unnest($1::smallint[], $2::bigint[]) AS m (shard, sent) WHERE relay.shard = m.shard"


def _headers(had: dict[str, bytes]) -> str:
    own = {
        **{name: raw.decode() for name, raw in had.items()}, "ce_id": str(uuid4()), "ce_type": Noted.type,
        "ce_causationid": had["ce_id"].decode(),
    }  # fmt: skip
    return json.dumps(list(own.items()))


async def _consume(lane: Lane, pool: "asyncpg.Pool[Any]", watch: Stopwatch) -> None:
    consumer = AIOKafkaConsumer(
        INBOUND, bootstrap_servers=lane.bootstrap, group_id=lane.group, enable_auto_commit=False, auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )  # fmt: skip
    await consumer.start()
    done = 0
    while done < lane.count:
        found = await consumer.getmany(timeout_ms=20, max_records=500)
        records = [record for part in found.values() for record in part]
        if not records:
            continue
        if not done:
            watch.start()
        had = [dict(record.headers) for record in records]
        subjects = [record.key.decode() for record in records]
        columns = (
            [h["ce_source"].decode() for h in had], [h["ce_id"].decode() for h in had], subjects,
            [shard_of(subject) for subject in subjects], [_headers(h) for h in had], [record.value for record in records],
        )  # fmt: skip
        await pool.execute("SELECT write($1, $2, $3, $4, $5, $6)", *columns)
        await consumer.commit({tp: part[-1].offset + 1 for tp, part in found.items()})
        done += len(records)
    await consumer.stop()


async def _send(producer: AIOKafkaProducer, shard: int, rows: list[Any]) -> None:
    while rows:
        batch, taken = producer.create_batch(), 0
        for row in rows:
            headers = [(name, text.encode()) for name, text in json.loads(row["headers"])]
            if batch.append(key=row["key"].encode(), value=row["value"], timestamp=None, headers=headers) is None:
                break
            taken += 1
        batch.close()
        await (await producer.send_batch(batch, OUTBOUND, partition=shard))
        rows = rows[taken:]


async def _relay(lane: Lane, pool: "asyncpg.Pool[Any]") -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=lane.bootstrap, acks="all", enable_idempotence=True, max_batch_size=512 * 1024,
    )  # fmt: skip
    await producer.start()
    sent = 0
    while sent < lane.count:
        rows = await pool.fetch(NEXT)
        shards: dict[int, list[Any]] = defaultdict(list)
        for row in rows:
            shards[row["shard"]].append(row)
        await asyncio.gather(*(_send(producer, shard, mine) for shard, mine in shards.items()))
        if rows:
            await pool.execute(MOVE, list(shards), [mine[-1]["n"] for mine in shards.values()])
        sent += len(rows)
        await asyncio.sleep(0.01)
    await producer.stop()


async def move(lane: Lane, watch: Stopwatch) -> None:
    """Both loops side by side until every event is relayed."""
    async with asyncpg.create_pool(lane.dsn, min_size=2, max_size=2) as pool:
        await asyncio.gather(_consume(lane, pool, watch), _relay(lane, pool))
        watch.stop()


if __name__ == "__main__":
    run(move)
