"""Says how much was said: now and then the outbox is counted as far as it is sent, and OutboxPosition tells everybody.

Who reads only Kafka can check it: per partition, the distinct ids of the owner up to the first occurrence of `last_id` are
`count`, and sum up to `digest`.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import asyncpg
from pydantic_core import to_json

from contracts.operations import ShardPosition
from messaging.decision import Command, Decision, Facts, NoContext, Refused
from messaging.machinery import MACHINERY, Machinery, Shard, class_of, noting
from messaging.message import Received
from messaging.processor import Processor
from messaging.routes import On

# How far we have counted.
COUNTED = "SELECT body FROM messaging.state WHERE kind = 'machinery' AND subject = $1 AND body IS NOT NULL"
# What is sent and not yet counted, at most so many rows per shard; what we parked is announced elsewhere and not counted. Id
# and number are cut out where they stand in our headers; the functions, which look for them, cost several times as much.
COUNT = """
    SELECT r.shard AS partition, fresh.*, messaging.outbox_id(newest.headers) AS last_id
      FROM messaging.relay r JOIN unnest($1::smallint[], $2::bigint[]) AS counted (shard, n) USING (shard)
     CROSS JOIN LATERAL (
           SELECT max(n) AS n, count(*) AS rows, count(*) FILTER (WHERE ours) AS count, max(n) FILTER (WHERE ours) AS newest,
                  sum(substr(sha256(convert_to(id, 'UTF8')), 1, 8)::bigint) FILTER (WHERE ours) AS digest,
                  max(sequence) FILTER (WHERE ours) AS sequence,
                  bool_or(ours AND strpos(headers, '.outbox-position.v1"') = 0) AS worth_telling
             FROM (SELECT n, headers, topic = $3 AS ours,
                          CASE WHEN starts_with(headers, '[["ce_id","') AND substr(headers, 48, 2) = '"]'
                               THEN substr(headers, 12, 36) ELSE messaging.outbox_id(headers) END AS id,
                          CASE WHEN substr(headers, strpos(headers, '"ce_sequence","') + 35, 2) = '"]'
                               THEN substr(headers, strpos(headers, '"ce_sequence","') + 15, 20)::bigint
                               ELSE messaging.outbox_sequence(headers) END AS sequence
                     FROM messaging.outbox o
                    WHERE (o.shard, o.n) > (r.shard, counted.n) AND (o.shard, o.n) <= (r.shard, r.sent)
                    ORDER BY o.shard, o.n LIMIT $4) o) fresh
      LEFT JOIN messaging.outbox newest ON newest.n = fresh.newest
     WHERE fresh.n IS NOT NULL ORDER BY r.shard"""
_SHARDS = 12


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was newly counted in one partition; `last_id` is None when nothing of it was ours."""

    partition: int
    n: int
    count: int
    digest: int
    sequence: int
    last_id: str | None


class Count(Command):
    """The outbox was counted on from where turn number `after` had left it."""

    type: ClassVar[str] = "command:count"

    after: int
    fresh: tuple[Fresh, ...]


class Positions:
    """Counts the outbox of one service; several processes may, since a count builds on the turn that it has seen."""

    def __init__(self, pool: "asyncpg.Pool[Any]", processor: Processor, source: str, topic: str) -> None:
        self._pool, self._processor, self._source, self._topic = pool, processor, source, topic

    async def turn(self, per_shard: int = 5000) -> bool:
        """Publishes a position when more than positions was said since the last one; True when there may be more to count."""
        before = await self._before()
        counted = {shard.partition: shard.n for shard in before.shards}
        shards = list(range(_SHARDS))
        rows = await self._pool.fetch(COUNT, shards, [counted.get(s, 0) for s in shards], self._topic, per_shard)
        more = any(row["rows"] >= per_shard for row in rows)
        if more or any(row["worth_telling"] for row in rows):
            await self._processor.handle([self._message(before.turn, rows)])
        return more

    async def _before(self) -> Machinery:
        body = await self._pool.fetchval(COUNTED, self._source)
        state: Machinery = MACHINERY.adapter.validate_json(body) if body else Machinery()
        return state

    def _message(self, after: int, rows: Any) -> Received:
        fresh = tuple(
            Fresh(r["partition"], r["n"], r["count"], int(r["digest"] or 0), r["sequence"] or 0, r["last_id"]) for r in rows
        )
        count, said = Count(after=after, fresh=fresh), class_of(self._source, "outbox-position")

        def on_counted(count: Count, before: Machinery | None, facts: Facts[NoContext]) -> Decision[Machinery] | Refused:
            return decide(said, count, before or Machinery(), facts)

        key = f"position {after + 1}"
        return noting(self._source, MACHINERY, self._source, key, count, On(Count, on_counted), to_json(count.model_dump()))


def decide(said: Any, count: Count, before: Machinery, facts: Facts[Any]) -> Decision[Machinery] | Refused:
    """When the outbox was counted on from where we stand, that is said; from anywhere else it counts for nothing."""
    if before.turn != count.after:
        return Refused("counted-meanwhile")
    shards = {shard.partition: shard for shard in before.shards}
    for fresh in count.fresh:
        shards[fresh.partition] = _onward(shards.get(fresh.partition, Shard(fresh.partition, 0)), fresh)
    moved = tuple(_position(shards[f.partition], f.last_id) for f in count.fresh if f.last_id)
    now = Machinery(count.after + 1, tuple(shards[partition] for partition in sorted(shards)))
    position = said(
        count=sum(shard.count for shard in now.shards), last_sequence=max(fresh.sequence for fresh in count.fresh),
        shards=moved, at=facts.now,
    )  # fmt: skip
    return Decision(now, publish=[position])


def _onward(shard: Shard, fresh: Fresh) -> Shard:
    digest = (int(shard.digest, 16) + fresh.digest) % 2**64
    return replace(shard, n=fresh.n, count=shard.count + fresh.count, digest=f"{digest:016x}")


def _position(shard: Shard, last_id: str) -> ShardPosition:
    return ShardPosition(partition=shard.partition, count=shard.count, last_id=last_id, digest=shard.digest)
