"""What a batch costs does not grow with the tables: rows are found through indexes, by old plans too."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.support import kit
from tests.support.kit import SOURCE, Replica, during, said
from tests.support.stack import FreshDatabase, Infra

from messaging import machinery
from messaging.lease import Lease
from messaging.positions import Positions
from messaging.pruning import Pruning, first_id_of

machinery.add_to(kit.ROUTES)

Work = Callable[[Replica, str], Awaitable[None]]

TABLES = ("inbox", "state", "timer", "outbox")
ROWS_READ = """
    SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = ANY ($1))::bigint
         + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = ANY ($1))::bigint"""
MUCH = """
    INSERT INTO messaging.inbox SELECT '/old', n::text, '', 'applied', NULL, now() FROM generate_series(1, 3000) n;
    INSERT INTO messaging.state (kind, subject, version, schema)
    SELECT 'journal', 'old-' || n, 1, 1 FROM generate_series(1, 3000) n;
    INSERT INTO messaging.timer (kind, subject, name, id, due, fires_anyway, cause)
    SELECT 'journal', 'old-' || n, 'bell', 'old-' || n, now() + '1 day', now() + '1 day', '{}' FROM generate_series(1, 3000) n;
    SELECT messaging.append(array_fill(1, rows), array_fill(0::smallint, rows), array_fill('t'::text, rows),
                            array_fill('k'::text, rows), array_fill('[]'::text, rows), array_fill(''::bytea, rows), '{}')
      FROM (SELECT ARRAY[3000] AS rows) AS many;"""

# All in one shard, long sent and counted, and not old.
HEADERS = f'[["ce_id","{first_id_of(datetime.now(UTC))}"],["ce_sequence","{1:020}"]]'
BUSY = f"""
    INSERT INTO messaging.outbox (shard, topic, key, headers, value)
    SELECT 3, '{kit.OWN_TOPIC}', 'k', '{HEADERS}', ''
      FROM generate_series(1, 60000);
    INSERT INTO messaging.state (kind, subject, version, schema, body)
    SELECT 'machinery', '{SOURCE}', 1, 1, jsonb_build_object('turn', 1, 'shards', jsonb_agg(jsonb_build_object(
               'partition', shard, 'n', CASE shard WHEN 3 THEN (SELECT max(n) FROM messaging.outbox) ELSE 0 END,
               'count', 0, 'digest', '0')))
      FROM generate_series(0, 11) shard;
    ANALYZE"""


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


async def batches(replica: Replica, name: str, count: int = 12) -> None:
    """More than the planner takes to settle on a plan; every one sets a timer that is due and fires."""
    for number in range(count):
        await replica.take(*(said(f"{name}-{number}", f"{name}-{subject}", do="open") for subject in range(5)))
        await replica.take(said(f"{name}-{number}-bell", f"{name}-0", do="timer", arg="bell=0"))
        assert await replica.workers.fire_due() == 1


async def rows_read(replica: Replica, owner: Any) -> int:
    """How many rows, or entries of indexes, were looked at so far."""
    await replica.pool.fetchval("SELECT pg_stat_force_next_flush()")
    return int(await owner.fetchval(ROWS_READ, TABLES))


async def read_once_grown(replica: Replica, database: FreshDatabase, rows: str, work: Work) -> int:
    """Rows that the work looks at after these came, by plans from before."""
    owner = await asyncpg.connect(database.owner_dsn)
    await work(replica, "small")
    await owner.execute(rows)
    before = await rows_read(replica, owner)
    await work(replica, "large")
    after = await rows_read(replica, owner)
    await owner.close()
    return after - before


def test_batches_and_due_timers_find_their_rows_through_indexes_when_the_tables_have_grown(database: FreshDatabase) -> None:
    assert during(database, lambda replica: read_once_grown(replica, database, MUCH, batches)) < 3000


def test_a_shard_in_which_little_is_said_costs_no_look_through_the_others(database: FreshDatabase) -> None:
    """Writing, relaying, counting and pruning; each looks for rows of one shard after a number, or for its first or last."""

    async def scenario(replica: Replica) -> list[int]:
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute(BUSY)
        positions = Positions(replica.pool, replica.processor, SOURCE, kit.OWN_TOPIC)
        pruning = Pruning(replica.pool, SOURCE, timedelta(days=7), timedelta(days=30))
        lease = Lease(replica.pool, "relay", timedelta(seconds=30))
        await lease.renew()
        lease.cursors[3].sent = await owner.fetchval("SELECT max(n) FROM messaging.outbox")
        costs = []

        async def cost(doing: Awaitable[Any]) -> None:
            before = await rows_read(replica, owner)
            await doing
            costs.append(await rows_read(replica, owner) - before)

        await cost(replica.handle(said("w1", "s-1", do="open")))
        await cost(lease.next(500))
        await owner.execute("UPDATE messaging.relay SET sent = (SELECT max(n) FROM messaging.outbox)")
        await cost(positions.turn())
        await cost(pruning.turn())
        await owner.close()
        return costs

    assert max(during(database, scenario)) < 1000


def test_cancelling_a_timer_does_not_go_through_those_that_stand_or_are_gone(database: FreshDatabase) -> None:
    """Timers come and go, so few stand when the planner looks, and the index has an entry of each until it is vacuumed."""
    gone = "DELETE FROM messaging.timer WHERE subject <> 'old-7'; ANALYZE messaging.timer"
    unvacuumed = "ALTER TABLE messaging.timer SET (autovacuum_enabled = off);"
    assert during(database, lambda replica: read_once_grown(replica, database, unvacuumed + MUCH + gone, cancelled)) < 1000


async def cancelled(replica: Replica, name: str) -> None:
    """More batches than the planner takes to settle on a plan; each cancels what the one before has set."""
    await replica.take(said(f"{name}-open", f"{name}-0", do="open"))
    for number in range(12):
        await replica.take(said(f"{name}-{number}-set", f"{name}-0", do="timer", arg="bell=1000"))
        await replica.take(said(f"{name}-{number}-cancel", f"{name}-0", do="cancel", arg="bell"))


def test_pruning_looks_at_no_claim_when_none_is_old(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> int:
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute(MUCH + "ANALYZE messaging.inbox")
        before = await rows_read(replica, owner)
        for _ in range(12):
            await Pruning(replica.pool, SOURCE, timedelta(days=7), timedelta(days=30)).turn()
        after = await rows_read(replica, owner)
        await owner.close()
        return after - before

    assert during(database, scenario) < 500
