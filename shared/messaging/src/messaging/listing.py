"""What is set aside, as a person may see it: reasons, places and who waits behind whom, never a body."""

from dataclasses import asdict, dataclass
from typing import Any

import asyncpg

from messaging.metrics import Meters

# Rows of the table and timers that failed too often, as one list. A type may be given by its short name.
LIST = """
    SELECT p.n, p.n::text AS target, p.outcome, p.reason, p.path, p.type, p.kind, p.subject, p.source, p.id, p.topic,
           p.part AS partition, p.position AS offset, p.size, p.at, p.retry_at, p.attempts, lane.ahead, lane.behind
      FROM messaging.parked p CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE o.n < p.n) AS ahead, count(*) FILTER (WHERE o.n > p.n) AS behind
             FROM messaging.parked o WHERE o.kind = p.kind AND o.subject = p.subject AND o.source = p.source) lane
     WHERE p.n > $1 AND ($3::text IS NULL OR p.outcome = $3) AND ($4::text IS NULL OR p.reason = $4)
       AND ($5::text IS NULL OR p.type = $5 OR split_part(p.type, '.', 4) = $5)
       AND ($6::text IS NULL OR p.subject = $6) AND ($7::text IS NULL OR p.id = $7)
     ORDER BY p.n LIMIT $2"""
HALTED = """
    SELECT 'timer-' || id AS target, 'parked' AS outcome, coalesce(reason, 'timer-failed') AS reason, 'timer:' || name AS type,
           kind, subject, id, due AS at, attempts, 0 AS ahead, 0 AS behind
      FROM messaging.timer
     WHERE not_before = 'infinity' AND ($1::text IS NULL OR $1 = 'parked') AND ($2::text IS NULL OR reason = $2)
       AND ($3::text IS NULL OR $3 IN (name, 'timer:' || name)) AND ($4::text IS NULL OR subject = $4)
       AND ($5::text IS NULL OR id = $5)
     ORDER BY due LIMIT 1000"""
COUNT = """
    SELECT (SELECT count(*) FROM messaging.parked WHERE outcome = 'parked')
           + (SELECT count(*) FROM messaging.timer WHERE not_before = 'infinity') AS parked,
           (SELECT count(*) FROM messaging.parked WHERE outcome = 'waiting') AS waiting"""
STOPPED = "SELECT topic, since, faults FROM messaging.stop WHERE since IS NOT NULL ORDER BY topic"
# One of them, with what else is in its lane, in order.
ONE = LIST.replace("WHERE p.n > $1", "WHERE p.n = $1")
LANE = """
    SELECT o.n::text AS target, o.outcome, o.reason, o.type, o.at, o.n < p.n AS ahead
      FROM messaging.parked p JOIN messaging.parked o USING (kind, subject, source)
     WHERE p.n = $1 AND o.n <> p.n ORDER BY o.n LIMIT 100"""

# What helps, by the beginning of a reason; the first that fits.
ADVICE = (
    ("same-id-other-content", "the first content counts; ask the sender for a new id, then discard this one"),
    (
        "killed-its-readers",
        "it ended the processes that read it: mend the reader first; a retry that kills again parks it again",
    ),
    ("too-large", "its bytes were not kept: ask its sender for a smaller one, then discard this one"),
    ("handler-", "our code failed on it: mend the cause (an upgrade, a repaired state), then retry"),
    ("unprocessable-", "what was decided could not be written: mend the cause, then retry"),
    ("unreadable-", "our reader failed on it: upgrade this service, then retry"),
    ("schema-", "its payload does not hold its schema: upgrade if ours is older, or ask the sender for it again, then discard"),
    ("not-a-cloudevent", "the sender's mistake: ask for the event again under a new id, then discard"),
    ("unknown-type", "upgrade this service if the type is newer, then retry; else ask the sender, then discard"),
    ("subject-missing", "the sender's mistake: ask for the event again under a new id, then discard"),
    ("foreign-source", "somebody named a source that is not theirs: find out who, then discard"),
    ("behind-parked", "it waits behind the head of its lane and follows by itself"),
    ("retried", "it was tried again and waits for its turn"),
    ("", "it waited for something that did not come: when that is here, retry; when it never will be, discard"),
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of them are wanted; None wants all."""

    outcome: str | None = None
    reason: str | None = None
    type: str | None = None
    subject: str | None = None
    id: str | None = None


async def rows(pool: "asyncpg.Pool[Any]", wanted: Filter, after: int, limit: int) -> list[dict[str, Any]]:
    """One page in order of age, timers with the first."""
    values = list(asdict(wanted).values())
    timers = await pool.fetch(HALTED, *values) if after == 0 and limit else []
    return [dict(row) for row in (*timers, *await pool.fetch(LIST, after, limit, *values))]


async def summary(pool: "asyncpg.Pool[Any]") -> dict[str, Any]:
    """How many wait for a person, how many for their turn, and which topics are stopped."""
    counts = await pool.fetchrow(COUNT)
    return {**dict(counts or {}), "stopped": [dict(row) for row in await pool.fetch(STOPPED)]}


async def count(pool: "asyncpg.Pool[Any]", meters: Meters) -> None:
    """The same as a metric."""
    found = await pool.fetchrow(COUNT)
    for outcome, number in dict(found or {}).items():
        meters.aside.labels(outcome).set(number)


async def one(pool: "asyncpg.Pool[Any]", target: str) -> dict[str, Any] | None:
    """One of them, with its lane and what helps."""
    if target.startswith("timer-"):
        found = [dict(row) for row in await pool.fetch(HALTED, None, None, None, None, target.removeprefix("timer-"))]
        advice = "our code failed on this timer again and again: mend the cause, then retry; it cannot be discarded"
        return {**found[0], "lane": [], "advice": advice} if found else None
    if not target.isdecimal() or (row := await pool.fetchrow(ONE, int(target), 1, *[None] * 5)) is None:
        return None
    lane = [dict(other) for other in await pool.fetch(LANE, int(target))]
    return {**dict(row), "lane": lane, "advice": advice_on(row["reason"])}


def advice_on(reason: str) -> str:
    """What a person can do."""
    return next(advice for beginning, advice in ADVICE if reason.startswith(beginning))
