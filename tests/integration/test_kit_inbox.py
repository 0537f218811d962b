"""Every message is done once, whoever brings it and however often, and who loses a race leaves nothing behind."""

import asyncio
import random
from typing import Any

import pytest
from tests.support import kit
from tests.support.kit import Replica, during, inbox, journal, outbox, parked, said, words
from tests.support.stack import FreshDatabase, Infra

from messaging.decision import NoContext


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


def test_a_duplicate_is_done_once_in_one_batch_in_a_later_one_and_after_a_restart(database: FreshDatabase) -> None:
    first, second = said("w1", do="open"), said("w2")

    async def scenario(replica: Replica) -> list[list[bool]]:
        batches = [(first, first, second), (second, first), (second, second)]
        return [[answer.duplicate for answer in await replica.handle(*batch)] for batch in batches]

    assert during(database, scenario) == [[False, True, False], [True, True], [True, True]]
    assert during(database, lambda replica: replica.handle(first, second))[0].duplicate
    assert journal(database) == ["w1", "w2"]
    assert outbox(database) == [("s-1", 1, "w1"), ("s-1", 2, "w2")]


def test_replicas_that_race_with_the_same_messages_do_each_once_and_in_order(database: FreshDatabase) -> None:
    subjects = [f"s-{n}" for n in range(6)]
    streams = {s: [said(w, s, do="open" if w == "w1" else "write") for w in words(30)] for s in subjects}
    turns = [record for row in zip(*streams.values(), strict=True) for record in row]

    async def race(*made: Replica) -> None:
        async def run(replica: Replica, seed: int) -> None:
            chance, at = random.Random(seed), 0
            while at < len(turns):
                size = chance.randint(1, 25)
                await replica.take(*turns[max(0, at - chance.randint(0, 5)) : at + size])
                at += size

        await asyncio.gather(*(run(replica, seed) for seed, replica in enumerate(made)))

    during(database, race, count=3)
    for subject in subjects:
        assert journal(database, subject) == words(30)
        said_about = [row for row in outbox(database) if row[0] == subject]
        assert said_about == [(subject, n, word) for n, word in enumerate(words(30), 1)]
    assert set(inbox(database).values()) == {"applied"}


def test_one_id_with_other_content_is_parked_alone_under_its_place_and_once(database: FreshDatabase) -> None:
    first = said("w1", do="open", id="1")
    other = said("other", id="1", offset=77)

    async def scenario(replica: Replica) -> list[tuple[str, str | None, bool]]:
        answers = await replica.handle(first, other, said("w2"))
        answers += await replica.handle(other)
        answers += await replica.handle(said("w3"), first)
        return [(a.outcome, a.reason, a.duplicate) for a in answers]

    alarm = "same-id-other-content"
    assert during(database, scenario) == [
        ("applied", None, False), ("parked", alarm, False), ("applied", None, False), ("parked", alarm, True),
        ("applied", None, False), ("applied", None, True),
    ]  # fmt: skip
    assert journal(database) == ["w1", "w2", "w3"]
    assert parked(database) == [("parked", f"kafka:{first.topic}", None, alarm)]
    assert [row[2] for row in outbox(database, kit.PARKED_TOPIC)] == [alarm]
    assert kit.blocked(database) == []


def test_one_id_about_another_subject_is_other_content_though_its_data_is_the_same(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> list[str | None]:
        await replica.handle(said("w", "s-1", do="open", id="1"))
        return [answer.reason for answer in await replica.handle(said("w", "s-2", do="open", id="1"))]

    assert during(database, scenario) == ["same-id-other-content"]


def test_two_sources_may_use_one_id(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open", id="1", source="/a"), said("w2", id="1", source="/b"))

    during(database, scenario)
    assert journal(database) == ["w1", "w2"]


def test_a_command_asked_again_gets_the_stored_reply_and_with_another_body_a_refusal(database: FreshDatabase) -> None:
    async def scenario(one: Replica, two: Replica) -> list[tuple[str, str | None, Any, bool]]:
        answers = await one.processor.handle([kit.asked("k-1", "w1", do="open"), kit.asked("k-2", "w2")])
        answers += await two.processor.handle([kit.asked("k-2", "w2"), kit.asked("k-2", "other")])
        answers += await two.processor.handle([kit.asked("k-3", "w", do="refuse"), kit.asked("k-3", "w", do="refuse")])
        return [(a.outcome, a.reason, a.reply, a.duplicate) for a in answers]

    assert during(database, scenario, count=2) == [
        ("applied", None, {"number": 1}, False), ("applied", None, {"number": 2}, False),
        ("applied", None, {"number": 2}, True), ("refused", "same-id-other-content", None, False),
        ("refused", "not-now", None, False), ("refused", "not-now", None, True),
    ]  # fmt: skip
    assert journal(database) == ["w1", "w2"]


def test_a_command_repeated_while_the_first_is_in_hand_elsewhere_gets_the_same_reply(database: FreshDatabase) -> None:
    async def race(*made: Replica) -> list[Any]:
        await made[0].processor.handle([kit.asked("k-0", "w0", do="open")])
        asks = [[kit.asked(f"k-{n}", f"w{n}") for n in range(1, 6)] for _ in made]
        answers = await asyncio.gather(*(r.processor.handle(batch) for r, batch in zip(made, asks, strict=True)))
        return [[answer.reply for answer in of_one] for of_one in answers]

    replies = during(database, race, count=4)
    assert replies == [[{"number": n} for n in range(2, 7)]] * 4
    assert journal(database) == [f"w{n}" for n in range(6)]


def test_a_duplicate_in_the_batch_of_a_loser_is_answered_with_what_was_committed(database: FreshDatabase) -> None:
    rival = said("rival")
    raced = False

    async def load(connection: Any, messages: Any) -> Any:
        nonlocal raced
        if len(messages) == 2 and not raced:
            raced = True
            await rivals[0].handle(rival)
        return NoContext()

    rivals: list[Replica] = []

    async def scenario(replica: Replica) -> list[Any]:
        async with kit.replicas(database) as others:
            rivals.extend(others)
            await others[0].handle(said("w1", do="open"))
            answers = await replica.processor.handle([kit.asked("k-1", "w2"), kit.asked("k-1", "w2")])
        return [(answer.reply, answer.duplicate) for answer in answers]

    assert during(database, scenario, load=load) == [({"number": 3}, False), ({"number": 3}, True)]
    assert journal(database) == ["w1", "rival", "w2"]


@pytest.mark.parametrize("known", [True, False])
def test_who_lost_three_times_decides_under_the_lock_of_the_subject_and_cannot_lose_again(
    database: FreshDatabase, known: bool
) -> None:
    """A rival says something after each of its reads; the first of them that has to wait for the lock is done behind it."""
    rivals: list[Replica] = []
    rivalling: list[asyncio.Task[Any]] = []

    async def load(connection: Any, messages: Any) -> Any:
        rivalling.append(asyncio.create_task(rivals[0].handle(said(f"rival-{len(rivalling)}", do="open"))))
        await asyncio.wait(rivalling[-1:], timeout=0.3)
        return NoContext()

    async def scenario(replica: Replica) -> None:
        async with kit.replicas(database) as others:
            rivals.extend(others)
            if known:
                await others[0].handle(said("first", do="open"))
            await replica.handle(said("mine", do="open"))
            await asyncio.gather(*rivalling)

    during(database, scenario, load=load)
    assert journal(database) == [*["first"] * known, "rival-0", "rival-1", "rival-2", "mine", "rival-3"]


def test_the_claims_of_a_loser_are_rolled_back_and_those_of_the_winners_stay(database: FreshDatabase) -> None:
    seen: list[dict[tuple[str, str], str]] = []

    async def load(connection: Any, messages: Any) -> Any:
        if len(messages) == 4:
            await rivals[0].handle(said("rival", "s-1"))
        else:
            claims = await connection.fetch("SELECT source, id, outcome FROM messaging.inbox WHERE source = '/portal/batch'")
            seen.append({(row["source"], row["id"]): row["outcome"] for row in claims})
        return NoContext()

    rivals: list[Replica] = []
    batch = [said(w, s, id=f"{s}-{w}", source="/portal/batch") for s in ("s-1", "s-2") for w in ("w1", "w2")]

    async def scenario(replica: Replica) -> None:
        async with kit.replicas(database) as others:
            rivals.extend(others)
            await others[0].handle(said("w0", "s-1", do="open"), said("w0", "s-2", do="open"))
            await replica.handle(*batch)

    during(database, scenario, load=load)
    assert seen == [{("/portal/batch", "s-2-w1"): "applied", ("/portal/batch", "s-2-w2"): "applied"}]
    assert (journal(database, "s-1"), journal(database, "s-2")) == (["w0", "rival", "w1", "w2"], ["w0", "w1", "w2"])


def test_replicas_that_race_with_what_nobody_can_read_park_and_tell_it_once_and_never_deadlock(database: FreshDatabase) -> None:
    unreadable = [kit.broken(b"x") for _ in range(20)]
    kit.slow_inserts(database, "inbox")
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = kit.sql(database, deadlocks)

    async def race(*made: Replica) -> None:
        orders = [random.Random(n).sample(unreadable, 20) for n in range(len(made))]
        await asyncio.gather(*(replica.take(*order) for replica, order in zip(made, orders, strict=True)))

    during(database, race, count=4)
    assert len(parked(database)) == len(outbox(database, kit.PARKED_TOPIC)) == len(inbox(database)) == 20
    assert kit.sql(database, deadlocks) == before


def test_of_two_events_with_one_id_about_two_subjects_that_race_one_is_done_and_one_is_an_alarm(
    database: FreshDatabase,
) -> None:
    async def race(*made: Replica) -> None:
        subjects = [f"s-{n}" for n in range(len(made))]
        for turn in range(10):
            same = [said(f"w{turn}", subject, do="open", id=f"{turn}") for subject in subjects]
            await asyncio.gather(*(replica.take(record) for replica, record in zip(made, same, strict=True)))

    during(database, race, count=3)
    done = [word for n in range(3) for word in journal(database, f"s-{n}")]
    assert sorted(done) == [f"w{turn}" for turn in range(10)]
    assert [row[3] for row in parked(database)] == ["same-id-other-content"] * 20
