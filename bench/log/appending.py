"""Appends as fast as it goes through the recorder of every day, checkpoints being signed beside it; then all is verified."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.log.load import batches
from ledger.notes import Signer
from messaging.metrics import Meters
from oversight.app import build
from oversight.checkpointing import Checkpoints
from oversight.consumer import Recorder
from oversight.outside import Outside, OutsideView
from oversight.settings import Settings
from oversight.verifying import verify

FIRST_OF = "SELECT recorded_at FROM entry WHERE index = $1"
BYTES = """
    SELECT pg_total_relation_size('entry') AS whole, pg_indexes_size('entry') AS indexes,
           pg_total_relation_size('subtree') + pg_total_relation_size('checkpoint') AS tree, appended FROM frontier"""
BODIES = "SELECT avg(length(data) + length(attributes)) FROM entry WHERE data IS NOT NULL AND index < 10000"


class Timed(Checkpoints):
    """Notes how long the oldest entry had waited when the checkpoint over it was in the database, and when it lay outside."""

    lags: list[float]
    outside_lags: list[float]
    laid = 0

    async def _grow(self, reach: Any, there: Any) -> list[str]:
        notes = await super()._grow(reach, there)
        if notes:
            await self._note(self.lags, reach.tree.size)
        return notes

    async def _anchor(self) -> int:
        waiting = await super()._anchor()
        if (size := self._open(self._outside.checkpoint if self._outside else None).size) > self.laid:
            await self._note(self.outside_lags, self.laid)
            self.laid = size
        return waiting

    async def _note(self, lags: list[float], index: int) -> None:
        at, oldest = datetime.now(UTC), await self._service.pool.fetchval(FIRST_OF, index)
        lags.append((at - oldest).total_seconds())


async def signing(checkpoints: Timed, stopping: asyncio.Event) -> None:
    """The loop that the service has, and one more turn after the load has ended."""
    while not stopping.is_set():
        await checkpoints.turn_and_rest()
    await checkpoints.turn()
    await checkpoints.close()


async def measure(settings: Settings, signer: Signer, folder: Path, seconds: float) -> dict[str, Any]:
    """Every figure of a ledger that is written for so long."""
    service = build(settings)
    await service.open()
    try:
        producer = partial(AIOKafkaProducer, bootstrap_servers=settings.kafka_bootstrap, acks="all")
        checkpoints, stopping = Timed(service, [signer], Outside(folder), producer), asyncio.Event()
        checkpoints.lags, checkpoints.outside_lags = [], []
        loop = asyncio.create_task(signing(checkpoints, stopping))
        recorder = Recorder(service.pool, b"k" * 32, Meters())
        load, began, done, slices = batches(settings.max_batch), perf_counter(), 0, list[float]()
        while perf_counter() - began < seconds:
            await recorder.take(next(load))
            done += settings.max_batch
            if perf_counter() - began >= 5 * (len(slices) + 1):
                slices.append(done / (perf_counter() - began))
                print(f"  {done:9,} entries, {slices[-1]:,.0f} a second, {checkpoints.laid:,} signed", flush=True)
        took = perf_counter() - began
        stopping.set()
        await loop
        ((sizes,), body) = await service.pool.fetch(BYTES), await service.pool.fetchval(BODIES)
        return {
            "entries": done,
            "append_per_s": round(done / took),
            "append_seconds": round(took, 1),
            "checkpoint_lag_s": round(max(checkpoints.lags), 2),
            "outside_lag_s": round(max(checkpoints.outside_lags), 2),
            "bytes_per_event": round((sizes["whole"] + sizes["tree"]) / sizes["appended"]),
            "bytes_of": {
                "body": round(body), "indexes": round(sizes["indexes"] / sizes["appended"]),
                "tree": round(sizes["tree"] / sizes["appended"], 1),
            },
            **await _verified(service, signer, folder),
        }  # fmt: skip
    finally:
        await service.pool.close()


async def _verified(service: Any, signer: Signer, folder: Path) -> dict[str, Any]:
    async with service.pool.acquire() as connection:
        began, own = perf_counter(), process_time()
        verdict = await verify(connection, [signer.verifier], OutsideView(folder))
        took, own = perf_counter() - began, process_time() - own
    if not verdict.good or verdict.unsigned:
        raise SystemExit(f"the ledger is not good: {verdict}")
    print(f"  {verdict.size:9,} entries and {verdict.checkpoints:,} checkpoints verified in {took:.1f} s", flush=True)
    return {
        "verify_per_s": round(verdict.size / took),
        "verify_own_cpu_us": round(own * 1e6 / verdict.size, 1),
        "checkpoints": verdict.checkpoints,
    }
