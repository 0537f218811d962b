"""The write judges each subject for itself: only who lost a race is decided again, in order, and nobody waits in a circle."""

import asyncio
import random
from typing import Any

import pytest
from tests.support import kit
from tests.support.kit import Replica, during, journal, outbox, said, words
from tests.support.stack import FreshDatabase, Infra

from messaging.decision import Facts, NoContext
from messaging.routes import Kept, Routes, on
from messaging.trouble import Contended, NewerState


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def bump(connection: Any, *subjects: str) -> None:
    """What any other writer of these subjects does to us."""
    await connection.execute("UPDATE messaging.state SET version = version + 1 WHERE subject = ANY ($1)", list(subjects))


class Rival:
    """Writes some subjects between our read and our write, so many times, and keeps what we decided each time."""

    def __init__(self, times: int, *subjects: str) -> None:
        self.times, self.subjects, self.decided = times, subjects, list[list[str]]()

    async def __call__(self, connection: Any, messages: Any) -> Any:
        self.decided.append([str(message.subject) for message in messages])
        if any(message.subject in self.subjects for message in messages) and self.times:
            self.times -= 1
            await bump(connection, *self.subjects)
        return NoContext()


async def opened(replica: Replica, *subjects: str) -> None:
    await replica.handle(*(said("w0", subject, do="open") for subject in subjects))


def test_only_the_losers_are_decided_again(database: FreshDatabase) -> None:
    during(database, lambda replica: opened(replica, "s-1", "s-2", "s-3"))
    rival = Rival(2, "s-2")
    batch = [said(word, subject) for word in ("w1", "w2") for subject in ("s-1", "s-2", "s-3")]
    during(database, lambda replica: replica.handle(*batch), load=rival)
    assert rival.decided == [["s-1", "s-2", "s-3"] * 2, ["s-2", "s-2"], ["s-2", "s-2"]]
    assert [journal(database, subject) for subject in ("s-1", "s-2", "s-3")] == [["w0", "w1", "w2"]] * 3


@pytest.mark.parametrize("losses", [3, 4, 5])
def test_who_loses_so_often_that_it_is_decided_alone_keeps_the_order_of_its_messages(
    database: FreshDatabase, losses: int
) -> None:
    during(database, lambda replica: opened(replica, "s-1", "s-2"))
    batch = [said(word, subject) for word in words(3) for subject in ("s-1", "s-2")]
    during(database, lambda replica: replica.handle(*batch), load=Rival(losses, "s-1"))
    assert journal(database, "s-1") == ["w0", *words(3)]
    assert outbox(database)[-1] == ("s-1", 4, "w3")


def test_who_loses_for_ever_is_told_so_and_keeps_nothing(database: FreshDatabase) -> None:
    during(database, lambda replica: opened(replica, "s-1", "s-2"))

    async def scenario(replica: Replica) -> None:
        with pytest.raises(Contended):
            await replica.handle(said("w1", "s-1", id="1"), said("w1", "s-2"))

    during(database, scenario, load=Rival(10**9, "s-1"))
    assert (journal(database, "s-1"), journal(database, "s-2")) == (["w0"], ["w0", "w1"])
    assert (kit.PORTAL, "1") not in kit.inbox(database)


def test_those_who_make_the_same_new_subjects_at_once_are_one_after_the_other(database: FreshDatabase) -> None:
    subjects = [f"s-{n}" for n in range(24)]
    kit.slow_inserts(database, "state")

    async def race(*made: Replica) -> None:
        for at in (0, 12):
            orders = [random.Random(n).sample(subjects[at : at + 12], 12) for n in range(len(made))]
            batches = [[said(f"w{n}", subject, do="open") for subject in order] for n, order in enumerate(orders)]
            await asyncio.gather(*(replica.handle(*batch) for replica, batch in zip(made, batches, strict=True)))

    before = kit.sql(database, DEADLOCKS)
    during(database, race, count=4)
    assert kit.sql(database, DEADLOCKS) == before
    for subject in subjects:
        assert sorted(journal(database, subject)) == ["w0", "w1", "w2", "w3"]
        assert [n for key, n, _ in outbox(database) if key == subject] == [1, 2, 3, 4]


def test_writers_that_take_many_subjects_in_any_order_never_deadlock(database: FreshDatabase) -> None:
    subjects = [f"s-{n}" for n in range(12)]
    kit.as_owner(
        database,
        """CREATE TABLE public.kept (subject text, word text);
           GRANT ALL ON public.kept TO PUBLIC;
           CREATE OR REPLACE FUNCTION messaging.effects(subjects text[], effects jsonb[]) RETURNS text[] LANGUAGE sql AS
           'INSERT INTO public.kept SELECT s, e ->> ''word'' FROM unnest(subjects, effects) AS x (s, e);
            SELECT ''{}''::text[]'""",
    )

    async def race(*made: Replica) -> None:
        await opened(made[0], *subjects)

        async def write(replica: Replica, seed: int) -> None:
            chance = random.Random(seed)
            for turn in range(12):
                chosen = chance.sample(subjects, 8)
                does = [chance.choice(("write", "effect", "refuse")) for _ in chosen]
                batch = [said(f"{seed}-{turn}", s, do=do) for s, do in zip(chosen, does, strict=True)]
                batch.append(said("x", f"new-{turn}", do="open"))
                await replica.handle(*batch)

        await asyncio.gather(*(write(replica, seed) for seed, replica in enumerate(made)))

    before = kit.sql(database, DEADLOCKS)
    during(database, race, count=4)
    assert kit.sql(database, DEADLOCKS) == before
    for subject in subjects:
        sequences = [n for key, n, _ in outbox(database) if key == subject]
        assert sequences == list(range(1, len(sequences) + 1))


def test_a_service_may_make_a_subject_lose_by_its_effects_and_it_keeps_nothing(database: FreshDatabase) -> None:
    kit.as_owner(
        database,
        """CREATE TABLE public.kept (word text PRIMARY KEY, tries int DEFAULT 0);
           GRANT ALL ON public.kept TO PUBLIC;
           INSERT INTO public.kept VALUES ('w1');
           CREATE OR REPLACE FUNCTION messaging.effects(subjects text[], effects jsonb[]) RETURNS text[] LANGUAGE sql AS
           'UPDATE public.kept SET tries = tries + 1;
            SELECT coalesce(array_agg(s), ''{}'') FROM unnest(subjects, effects) AS x (s, e)
             WHERE (SELECT tries FROM public.kept WHERE word = e ->> ''word'') < 3'""",
    )
    rival = Rival(0)

    async def scenario(replica: Replica) -> None:
        await replica.handle(said("w0", "s-2", do="open"), said("w0", "s-1", do="open"))
        await replica.handle(said("w1", "s-1", do="effect"), said("w2", "s-1"), said("w1", "s-2"))

    during(database, scenario, load=rival)
    assert rival.decided[1:] == [["s-1", "s-1", "s-2"], ["s-1", "s-1"], ["s-1", "s-1"]]
    assert journal(database) == ["w0", "w1", "w2"]
    assert [row for row in outbox(database) if row[0] == "s-1"] == [("s-1", n, f"w{n - 1}") for n in (1, 2, 3)]


def test_code_that_meets_a_state_of_a_newer_schema_holds_and_changes_nothing(database: FreshDatabase) -> None:
    def on_newer(event: kit.Said, state: Any, facts: Facts[Any]) -> kit.Outcome:
        return kit.on_said(event, state, facts)

    newer = Routes(Kept("journal", kit.Journal, on(kit.Said, on_newer), schema=2))
    during(database, lambda replica: replica.handle(said("w0", do="open")), routes=newer)

    async def scenario(replica: Replica) -> None:
        with pytest.raises(NewerState):
            await replica.take(said("w1"), said("w1", "s-2", do="open"))

    during(database, scenario)
    assert (journal(database), kit.parked(database)) == (["w0"], [])
    during(database, lambda replica: replica.handle(said("w1")), routes=newer)
    assert journal(database) == ["w0", "w1"]
