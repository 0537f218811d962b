"""The views of custody: rows of the record become events, `contracts` judges them, and the answers are plain JSON."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from pydantic import ValidationError

from contracts.at_risk import Risk, at_risk
from contracts.custody import Recorded
from contracts.custody_check import check, is_open
from contracts.custody_views import by_then, custodian_at, terms_of
from contracts.envelope import parse_attributes
from contracts.event import REGISTRY
from contracts.handoff_view import HandoffView, handoffs_in
from contracts.refusal import EnvelopeError
from oversight import custody_store as store

# Samples for the 95th percentiles: the newest, of all kinds together.
SAMPLES = 2000

Json = dict[str, Any]


async def handoffs(pool: "asyncpg.Pool[Any]", said: str | None, late: bool | None, limit: int) -> list[Json]:
    """Those that stand, the soonest deadline first; or those about which something was said, the newest first."""
    chosen = await store.said(pool, said, limit) if said else await store.standing(pool, late, limit)
    now = await store.now(pool)
    shown = [_handoff(view, now) for view in await _views(pool, chosen)]
    return [one for one in shown if late is None or one["late"] == late] if said else shown


async def risks(pool: "asyncpg.Pool[Any]", limit: int) -> list[Json]:
    """Handoffs at risk now, the least time left first."""
    standing = await _views(pool, await store.standing(pool, None, None))
    took = defaultdict[str, list[timedelta]](list)
    for kind, time in await store.took(pool, SAMPLES):
        took[kind].append(time)
    now = await store.now(pool)
    return [_risk(risk, now) for risk in at_risk(standing, took, now)[:limit]]


def custody(rows: Iterable[store.Row], at: datetime | None, now: datetime) -> Json:
    """Everybody who ever was custodian of an episode; who was it, and how its handoffs stood, at an instant or now."""
    events = list(recorded(rows))
    terms = terms_of(events)
    return {
        "custodian": custodian_at(events, at) if at else terms[-1].custodian if terms else None,
        "terms": [asdict(term) for term in terms],
        "handoffs": [_handoff(view, at or now) for view in handoffs_in(by_then(events, at) if at else events)],
    }


def findings(rows: Iterable[store.Row], as_of: datetime, grace: timedelta) -> Json:
    """What is wrong with the custody of these episodes, and which of them are open."""
    episodes = _by_episode(recorded(rows))
    found = [asdict(finding) for finding in check(episodes, as_of, grace)]
    return {"findings": found, "open": [episode for episode, events in sorted(episodes.items()) if is_open(events)]}


def recorded(rows: Iterable[store.Row]) -> Iterator[Recorded]:
    """The events of rows; a type that this version does not know and what does not hold its schema are passed over."""
    for attributes, data in rows:
        try:
            envelope = parse_attributes(json.loads(attributes))
            if kind := REGISTRY.get(envelope.type):
                yield envelope, kind.model_validate_json(data)
        except (EnvelopeError, ValidationError):
            continue


def _by_episode(events: Iterable[Recorded]) -> dict[str, list[Recorded]]:
    episodes = defaultdict[str, list[Recorded]](list)
    for envelope, event in events:
        episodes[envelope.subject or ""].append((envelope, event))
    return episodes


async def _views(pool: "asyncpg.Pool[Any]", chosen: Sequence[store.Chosen]) -> list[HandoffView]:
    """In the order chosen; read aside, since a list may be long and the consumer shares this loop."""
    rows = await store.of_episodes(pool, sorted({subject for subject, _ in chosen}))
    views = await asyncio.to_thread(_views_in, rows)
    return [views[one] for one in dict.fromkeys(chosen) if one in views]


def _views_in(rows: Iterable[store.Row]) -> dict[store.Chosen, HandoffView]:
    episodes = _by_episode(recorded(rows)).values()
    return {(view.episode, view.handoff_id): view for events in episodes for view in handoffs_in(events)}


def _handoff(view: HandoffView, now: datetime) -> Json:
    return {**asdict(view), "late": view.late(now)}


def _risk(risk: Risk, now: datetime) -> Json:
    seconds = {
        "seconds_left": risk.left.total_seconds(),
        "p95_seconds": risk.p95.total_seconds() if risk.p95 is not None else None,
        "needs_seconds": risk.needs.total_seconds() if risk.needs is not None else None,
    }
    return {**_handoff(risk.handoff, now), **seconds, "why": risk.why}
