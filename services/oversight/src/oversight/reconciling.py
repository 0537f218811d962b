"""Holds what sources say they have said against what is on record; a difference is an event, a metric and a line of status."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog
from prometheus_client import Gauge
from pydantic import ValidationError

from contracts.event import REGISTRY
from contracts.operations import OutboxPosition
from contracts.oversight import ReconciliationFailed
from contracts.topics import OWNED
from ledger.entry import LedgerEntry
from messaging import machinery
from messaging.message import Received
from messaging.service import Service
from oversight import store
from oversight.domain.claim import Base, Claim, Found, judge

log = structlog.get_logger()
_TOPICS = {source: topic for topic, source in OWNED.items()}
_POSITIONS = frozenset(f"care{source.replace('/', '.')}.outbox-position.v1" for source in _TOPICS)
_AT_ONCE = 20


def claims_in(entries: Sequence[LedgerEntry]) -> list[Claim]:
    """What sources say about themselves in these entries; what cannot be read is no claim."""
    claims: list[Claim] = []
    for entry in entries:
        if entry.type in _POSITIONS:
            claims += _claims_of(entry)
    return claims


def _claims_of(entry: LedgerEntry) -> list[Claim]:
    try:
        said: Any = REGISTRY[entry.type].model_validate_json(entry.data or b"")
    except ValidationError:
        log.error("position_unreadable", topic=entry.topic, partition=entry.part, offset=entry.position)
        return []
    assert isinstance(said, OutboxPosition)
    return [Claim(entry.source, s.partition, s.count, s.digest, s.last_id, said.at) for s in said.shards]


class Reconciler:
    """Judges claims in the order of their counts, and looks again at those that failed.

    Invariant: a claim is forgotten only when it was found to be so.
    """

    def __init__(self, service: Service, grace: timedelta = timedelta(minutes=1)) -> None:
        self._service, self._grace = service, grace
        self._open = Gauge(
            "reconciliation_failed", "claims of sources that are not on record", registry=service.meters.registry
        )  # fmt: skip

    async def turn(self) -> bool:
        """Judges the claims of each partition in their order; True when there may be more."""
        pool, moved = self._service.pool, True
        for _ in range(_AT_ONCE):
            moved = await self._pass(pool)
            if not moved:
                break
        self._open.set(await store.failed(pool))
        return moved

    async def _pass(self, pool: "asyncpg.Pool[Any]") -> bool:
        """Judges the next claim of each partition; True when one of them makes way for its next."""
        settled: list[tuple[Claim, int | None]] = []
        moved = [await self._judge(pool, row, settled) for row in await store.pending(pool, self._grace)]
        await store.settle(pool, settled)
        return any(moved)

    async def _judge(self, pool: "asyncpg.Pool[Any]", row: Mapping[str, Any], settled: list[tuple[Claim, int | None]]) -> bool:
        claim = Claim(*(row[name] for name in ("source", "part", "count", "digest", "last_id", "at", "problem")))
        base = Base(row["base_count"] or 0, row["base_digest"] or "0" * 16, row["base_position"], row["base_at"])
        found = Found(row["position"], row["found"], int(row["found_digest"] or 0), row["read"])
        if base.at is None and claim.problem is None and not row["whole"] and found.position is not None:
            settled.append((claim, found.position))
            return True
        verdict = judge(claim, base, found)
        if verdict == "right":
            if claim.problem is not None:
                await self._say(claim, base, found, resolved=True)
            settled.append((claim, found.position))
        elif claim.problem is not None:
            await store.look_again(pool, claim)
        elif verdict != "wait":
            await self._say(claim, base, found, verdict)
            await store.fail(pool, claim, base, verdict, found.position)
        return verdict != "wait" and claim.problem is None

    async def _say(self, claim: Claim, base: Base, found: Found, problem: Any = None, resolved: bool = False) -> None:
        event = ReconciliationFailed(
            event_source=claim.source, topic=_TOPICS[claim.source], partition=claim.part, problem=problem or claim.problem,
            claimed=claim.count, found=None if found.position is None else base.count + found.count, last_id=claim.last_id,
            resolved=resolved,
        )  # fmt: skip
        await self._service.processor.handle([self._message(claim, event)])
        log.error(
            "reconciled_after_all" if resolved else "reconciliation_failed", topic=event.topic, partition=claim.part,
            reason=event.problem, count=claim.count,
        )  # fmt: skip

    def _message(self, claim: Claim, event: ReconciliationFailed) -> Received:
        source, routes = self._service.source, self._service.routes
        key = f"{'resolved' if event.resolved else 'failed'} {claim.source} {claim.part} {claim.count} {claim.last_id}"
        return machinery.saying(routes, source, claim.source, key, [event])


async def overview(pool: "asyncpg.Pool[Any]") -> dict[str, Any]:
    """Per source how much was found to be so and until when, and every claim that was not."""
    sources: list[dict[str, str | int | datetime]] = await store.reconciled(pool)
    return {"sources": sources, "failed": await store.failures(pool)}
