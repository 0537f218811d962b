"""Tables stay bounded, and nothing is forgotten that somebody still needs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.support import kit
from tests.support.kit import SOURCE, Replica, broken, during, inbox, journal, parked, said, sql
from tests.support.stack import FreshDatabase, Infra

from messaging import machinery
from messaging.pruning import Pruning, first_id_of

machinery.add_to(kit.ROUTES)
KEPT = timedelta(days=7), timedelta(days=30)


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


def pruning(replica: Replica) -> Pruning:
    return Pruning(replica.pool, SOURCE, *KEPT)


async def pruned(replica: Replica, portion: int = 2000) -> int:
    """Prunes until nothing is left to do, and returns how many turns that took."""
    turns = 1
    while await pruning(replica).turn(portion):
        turns += 1
    return turns


def say(database: FreshDatabase, shard: int, days_ago: list[int]) -> list[int]:
    """Rows of the outbox, said so long ago."""
    rows = []
    for days in days_ago:
        event_id = first_id_of(datetime.now(UTC) - timedelta(days=days, minutes=1))
        headers = json.dumps([["ce_id", event_id], ["ce_sequence", "1"]], separators=(",", ":"))
        statement = """
            INSERT INTO messaging.outbox (shard, topic, key, headers, value) VALUES ($1, 't', 'k', $2, '') RETURNING n"""
        rows += sql(database, statement, shard, headers)
    return [row["n"] for row in rows]


def counted_and_sent(database: FreshDatabase, counted: dict[int, int], sent: dict[int, int]) -> None:
    shards = [{"partition": shard, "n": n, "count": n, "digest": "0"} for shard, n in counted.items()]
    body = json.dumps({"turn": 1, "shards": shards})
    statement = (
        "INSERT INTO messaging.state (kind, subject, version, schema, body) VALUES ('machinery', $1, 1, 1, $2) RETURNING 1"
    )
    sql(database, statement, SOURCE, body)
    for shard, n in sent.items():
        sql(database, "UPDATE messaging.relay SET sent = $2 WHERE shard = $1 RETURNING 1", shard, n)


def left(database: FreshDatabase) -> list[int]:
    return [row["n"] for row in sql(database, "SELECT n FROM messaging.outbox ORDER BY n")]


def test_events_leave_the_outbox_when_they_are_sent_and_counted_and_old(database: FreshDatabase) -> None:
    old, young = say(database, 1, [9, 8, 8]), say(database, 1, [6, 0])
    uncounted, unsent = say(database, 2, [9, 9]), say(database, 3, [9, 9])
    unknown = say(database, 4, [9])
    counted_and_sent(
        database,
        {1: young[-1], 2: uncounted[0], 3: unsent[-1]},
        {1: young[-1], 2: uncounted[-1], 3: unsent[0], 4: unknown[-1]},
    )
    during(database, pruned)
    assert left(database) == [*young, uncounted[-1], unsent[-1], *unknown]
    assert old


def test_the_oldest_go_first_and_never_more_at_once_than_a_portion(database: FreshDatabase) -> None:
    rows = say(database, 1, [9] * 5) + say(database, 1, [0])
    counted_and_sent(database, {1: rows[-1]}, {1: rows[-1]})

    async def scenario(replica: Replica) -> None:
        assert await pruning(replica).turn(portion=24)
        assert left_now(await replica.pool.fetch("SELECT n FROM messaging.outbox ORDER BY n")) == rows[2:]
        await pruned(replica, 24)

    def left_now(found: list[Any]) -> list[int]:
        return [row["n"] for row in found]

    during(database, scenario)
    assert left(database) == rows[5:]


def test_the_runtime_role_cannot_delete_what_was_said_by_itself(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await replica.pool.execute("DELETE FROM messaging.outbox")

    during(database, scenario)


def test_claims_are_forgotten_when_they_are_old_but_never_those_of_what_is_set_aside(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.handle(
            said("old", do="open", id="old"), said("fails", do="raise", id="parked"), said("next", id="behind")
        )
        await replica.handle(said("early", "s-9", id="waiting"), broken())
        await replica.pool.execute("UPDATE messaging.inbox SET at = now() - interval '31 days'")
        await replica.handle(said("young", "s-2", do="open", id="young"))
        await pruned(replica, portion=1)
        await replica.handle(said("next", id="behind"))

    during(database, scenario)
    known = {claim[1]: outcome for claim, outcome in inbox(database).items() if not claim[0].startswith("kafka:")}
    assert known == {"parked": "parked", "behind": "waiting", "waiting": "waiting", "young": "applied"}
    assert len(inbox(database)) == 5, "what nobody can read is known by its place"
    assert [row[0] for row in parked(database)] == ["parked", "waiting", "waiting", "parked"]
    assert journal(database) == ["old"]


def test_a_replay_is_told_before_anything_is_forgotten(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.handle(said("old", do="open"))
        assert await pruned(replica) == 1
        assert await replica.pool.fetchval("SELECT count(*) FROM messaging.pruned") == 0
        await replica.pool.execute("UPDATE messaging.inbox SET at = now() - interval '31 days'")
        await pruned(replica)
        before = await replica.pool.fetchval("SELECT before FROM messaging.pruned WHERE what = 'inbox'")
        assert timedelta(days=29) < datetime.now(UTC) - before < timedelta(days=31)

    during(database, scenario)
    assert inbox(database) == {}


def test_a_clock_that_a_demo_moved_forward_makes_nothing_older(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.handle(said("young", do="open", id="young"))
        await pruned(replica)

    kit.shift_clock(database, "60 days")
    during(database, scenario)
    assert list(inbox(database).values()) == ["applied"]
