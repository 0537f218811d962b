"""What cannot be done now is set aside: its lane waits in order, other lanes go on, nothing is lost or told twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import kit
from tests.support.kit import Replica, blocked, during, hurried, inbox, journal, outbox, parked, said
from tests.support.stack import FreshDatabase, Infra

from messaging.decision import Decision, Early, NoContext
from messaging.routes import Kept, Routes, on

WAITING = "UPDATE messaging.parked SET outcome = 'waiting', retry_at = now() WHERE outcome = 'parked'"


@pytest.fixture
def database(infra: Infra) -> FreshDatabase:
    return kit.emptied(infra)


def test_what_comes_too_early_is_applied_when_its_subject_appears_and_before_what_queued_behind_it(
    database: FreshDatabase,
) -> None:
    async def scenario(replica: Replica) -> None:
        answers = await replica.handle(said("w2"), said("w3"), said("other", "s-2", do="open"))
        assert [a.reason for a in answers] == ["journal-unknown", "behind-parked", None]
        await replica.take(said("w1", source="/desk", do="open"), said("w4"), said("w5", source="/desk"))
        assert await replica.workers.look_again() == 3
        await replica.take(said("w6"))

    nothing_is_left_after(database, scenario)
    assert journal(database) == ["w1", "w5", "w2", "w3", "w4", "w6"]
    assert journal(database, "s-2") == ["other"]


def nothing_is_left_after(database: FreshDatabase, scenario: Any, **how: Any) -> None:
    during(database, scenario, **how)
    assert (parked(database), blocked(database)) == ([], [])


def test_a_handler_that_fails_parks_its_record_and_holds_its_lane_and_no_other(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), said("w2", do="raise"), said("w3"), said("w4", source="/desk"))
        await replica.take(said("w5"), said("w1", "s-2", do="open"))

    during(database, scenario)
    assert journal(database) == ["w1", "w4"]
    assert parked(database) == [
        ("parked", kit.PORTAL, "s-1", "handler-LookupError"),
        ("waiting", kit.PORTAL, "s-1", "behind-parked"),
        ("waiting", kit.PORTAL, "s-1", "behind-parked"),
    ]
    assert blocked(database) == [kit.PORTAL]
    assert journal(database, "s-2") == ["w1"]


def test_behind_a_parked_head_nothing_is_looked_at_until_somebody_sets_it_to_waiting(database: FreshDatabase) -> None:
    failing = [True]

    def on_said(event: kit.Said, state: Any, facts: Any) -> Any:
        return kit.on_said(replace_do(event, failing[0]), state, facts)

    routes = Routes(Kept("journal", kit.Journal, on(kit.Said, on_said)))

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), said("w2", do="raise"), said("w3"), said("w4"))
        await replica.pool.execute("UPDATE messaging.parked SET retry_at = now()")
        assert await replica.workers.look_again() == 0
        failing[0] = False
        await replica.pool.execute(WAITING)
        assert await replica.workers.look_again() == 3
        await replica.take(said("w5"))

    nothing_is_left_after(database, scenario, routes=routes)
    assert journal(database) == ["w1", "w2", "w3", "w4", "w5"]
    assert outbox(database) == [("s-1", n, f"w{n}") for n in range(1, 6)]


def replace_do(event: kit.Said, failing: bool) -> kit.Said:
    return event if failing or event.do != "raise" else event.model_copy(update={"do": "write"})


def test_a_parked_record_that_comes_again_is_neither_parked_nor_told_twice_nor_applied(database: FreshDatabase) -> None:
    head, behind = said("w2", do="raise"), said("w3")

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), head, behind)
        await replica.take(head, behind)
        await replica.take(behind, head)

    during(database, scenario)
    assert [row[3] for row in parked(database)] == ["handler-LookupError", "behind-parked"]
    assert journal(database) == ["w1"]
    assert [row[2] for row in outbox(database, kit.PARKED_TOPIC)] == ["handler-LookupError"]


def test_what_was_discarded_does_not_come_back_when_its_record_does(database: FreshDatabase) -> None:
    head = said("w2", do="raise", id="1")

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), head)
        await replica.pool.execute("UPDATE messaging.inbox SET outcome = 'discarded' WHERE id = '1'")
        await replica.pool.execute("DELETE FROM messaging.parked")
        await replica.pool.execute("UPDATE messaging.state SET blocked = '[]', version = version + 1")
        await replica.take(said("w3"), head)

    nothing_is_left_after(database, scenario)
    assert journal(database) == ["w1", "w3"]


def test_what_is_told_of_a_parked_record_holds_no_content_of_it(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(
            said("canary", do="raise"), kit.broken(b"canary{"), said("x", value=b'{"word": ["canary"]}'),
            kit.with_header(kit.typed(said("w"), "care.rapport.clinical.unknown.v1"), "x-note", b"canary"),
        )  # fmt: skip

    during(database, scenario)
    rows = kit.sql(database, "SELECT headers, convert_from(value, 'UTF8') AS value FROM messaging.outbox")
    assert len(rows) == 4
    told = [row["headers"] + row["value"] for row in rows]
    assert [text for text in told if "canary" in text] == []


def test_an_undecodable_record_is_parked_alone_by_its_place_with_its_bytes(database: FreshDatabase) -> None:
    unreadable = [
        kit.broken(b"\xff\xfe"), kit.broken(None), kit.broken(b"{}", (("ce_id", None), ("ce_type", b"\xff"))),
        said("x", value=b"not json"), said("x", value=b'{"word":"\\ud800"}'), said("x", value=b'{"word":"\\u0000"}'),
        said("x", value=b"[" * 100_000), said("x", value=b'{"word":' + b"9" * 5000 + b"}"), said("x", value=b""),
    ]  # fmt: skip

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), *unreadable, said("w2"))
        await replica.take(*unreadable)

    during(database, scenario)
    assert journal(database) == ["w1", "w2"]
    rows = kit.sql(database, "SELECT outcome, part, position, value FROM messaging.parked ORDER BY n")
    assert [tuple(row) for row in rows] == [("parked", r.partition, r.offset, r.value) for r in unreadable]
    assert len(outbox(database, kit.PARKED_TOPIC)) == len(unreadable)


@pytest.mark.parametrize(("name", "value"), [("x-trace", b"\x00\x01\xff"), ("x\x00y", b"v"), ("x", "\ud7ff é".encode())])
def test_any_header_may_stand_on_a_record_that_is_parked(database: FreshDatabase, name: str, value: bytes) -> None:
    early = kit.with_header(said("w2"), name, value)

    async def scenario(replica: Replica) -> None:
        await replica.take(kit.with_header(kit.broken(), name, value), early)
        await replica.take(said("w1", do="open", source="/desk"))
        await replica.workers.look_again()

    during(database, scenario)
    assert journal(database) == ["w1", "w2"]
    assert len(parked(database)) == 1


def test_an_early_record_is_given_up_at_its_limit_and_told_once(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1"), said("w2"))
        await hurried(replica)
        await replica.workers.look_again()
        assert await replica.pool.fetchval("SELECT count(*) FROM messaging.parked WHERE outcome = 'waiting'") == 2
        await asyncio.to_thread(kit.shift_clock, database, "2 hours")
        for _ in range(3):
            await replica.workers.look_again()

    during(database, scenario)
    assert [row[0] for row in parked(database)] == ["parked", "waiting"]
    assert [row[2] for row in outbox(database, kit.PARKED_TOPIC)] == ["journal-unknown"]


def test_the_limit_of_an_early_record_counts_from_when_we_read_it_not_from_its_senders_clock(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w2", time=datetime.now(UTC) - timedelta(days=3)))
        await hurried(replica)
        await replica.workers.look_again()
        await replica.take(said("w1", do="open", source="/desk"))
        await replica.workers.look_again()

    nothing_is_left_after(database, scenario)
    assert journal(database) == ["w1", "w2"]


def test_a_lane_goes_on_after_its_head_was_refused_and_the_process_died(database: FreshDatabase) -> None:
    tries: list[str] = []

    def on_said(event: kit.Said, state: Any, facts: Any) -> Any:
        tries.append(event.word)
        return Early("not-yet") if tries == ["w1", "w2"] else kit.on_said(event, state, facts)

    async def load(_: Any, messages: Any) -> Any:
        if messages[0].data.word == "w3" and tries[-1] == "w2" and messages[0].lane_row:
            tries.append("died")
            raise ConnectionError
        return NoContext()

    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"))
        await replica.take(said("w2", do="refuse"), said("w3"))
        await hurried(replica)
        with pytest.raises(ConnectionError):
            await replica.workers.look_again()
        await replica.workers.look_again()

    routes = Routes(Kept("journal", kit.Journal, on(kit.Said, on_said)))
    nothing_is_left_after(database, scenario, load=load, routes=routes)
    assert journal(database) == ["w1", "w3"]


def test_who_queues_while_a_lane_is_being_emptied_is_not_left_behind(database: FreshDatabase) -> None:
    """The worker saw only the head of a closed lane; before it opens the lane, the consumer queues there."""

    async def scenario(replica: Replica, other: Replica) -> None:
        await replica.take(said("w2"), said("w1", do="open", source="/desk"))
        handle = replica.processor.handle

        async def late(batch: Any) -> Any:
            if late not in done:
                done.append(late)
                await other.take(said("w3"))
            return await handle(batch)

        done: list[Any] = []
        replica.processor.handle = late  # type: ignore[method-assign]
        await replica.workers.look_again()
        await replica.take(said("w4"))
        for _ in range(3):
            await replica.workers.look_again()

    nothing_is_left_after(database, scenario, count=2)
    assert journal(database) == ["w1", "w2", "w3", "w4"]


def test_consumers_and_workers_of_replicas_that_race_keep_the_order_of_every_lane(database: FreshDatabase) -> None:
    subjects = [f"s-{n}" for n in range(8)]
    streams = [[said(f"w{n}", s, do="early-once" if n % 4 == 0 else "write") for s in subjects] for n in range(1, 25)]
    tried: set[tuple[str, str]] = set()

    def on_said(event: kit.Said, state: Any, facts: Any) -> Any:
        if event.do == "early-once" and (facts.subject, event.word) not in tried:
            tried.add((facts.subject, event.word))
            return Early("not-yet")
        return kit.on_said(event, state, facts)

    routes = Routes(Kept("journal", kit.Journal, on(kit.Said, on_said)))

    async def race(*made: Replica) -> None:
        await made[0].take(*(said("w0", s, do="open", source="/desk") for s in subjects))
        reading = asyncio.Event()

        async def consume(replica: Replica) -> None:
            for at in range(0, len(streams), 2):
                await replica.take(*(record for row in streams[max(0, at - 3) : at + 2] for record in row))

        async def work(replica: Replica) -> None:
            while not reading.is_set() or await replica.pool.fetchval("SELECT count(*) FROM messaging.parked"):
                await hurried(replica)
                await replica.workers.look_again()

        consuming = asyncio.gather(*(consume(replica) for replica in made[:2]))
        working = asyncio.gather(*(work(replica) for replica in made[1:]))
        await consuming
        reading.set()
        await asyncio.wait_for(working, 20)

    during(database, race, count=3, routes=routes)
    for subject in subjects:
        assert journal(database, subject) == [f"w{n}" for n in range(25)]
        assert [n for key, n, _ in outbox(database) if key == subject] == list(range(1, 26))
        assert blocked(database, subject) == []
    assert set(inbox(database).values()) == {"applied"}


def test_workers_that_look_at_one_lane_at_once_do_it_once_and_none_of_them_fails(database: FreshDatabase) -> None:
    async def race(*made: Replica) -> None:
        await made[0].take(*(said(f"w{n}") for n in range(2, 8)), said("w1", do="open", source="/desk"))
        await asyncio.gather(*(replica.workers.look_again() for replica in made))

    nothing_is_left_after(database, race, count=4)
    assert journal(database) == [f"w{n}" for n in range(1, 8)]


def test_closed_lanes_that_were_woken_do_not_keep_others_from_being_looked_at(database: FreshDatabase) -> None:
    closed = [f"c-{n}" for n in range(4)]

    async def scenario(replica: Replica) -> None:
        for subject in closed:
            await replica.take(said("w1", subject, do="open", source="/desk"), said("w2", subject, do="raise"))
            await replica.take(said("w3", subject), said("w4", subject, source="/desk"))
        await replica.take(said("w2"), said("w1", do="open", source="/desk"))
        for _ in range(2):
            await replica.workers.look_again(lanes=3)

    during(database, scenario)
    assert journal(database) == ["w1", "w2"]


def test_waiting_lanes_are_written_together_the_first_of_each_and_then_the_next(database: FreshDatabase) -> None:
    subjects = [f"s-{n}" for n in range(50)]

    async def scenario(replica: Replica) -> None:
        await replica.take(*(said(word, subject) for word in ("w2", "w3") for subject in subjects))
        await replica.take(*(said("w1", subject, do="open", source="/desk") for subject in subjects))
        batches, handle = list[int](), replica.processor.handle
        replica.processor.handle = lambda batch: batches.append(len(batch)) or handle(batch)  # type: ignore[method-assign, func-returns-value]
        assert await replica.workers.look_again() == 100
        assert batches == [50, 50]

    nothing_is_left_after(database, scenario)
    assert {tuple(journal(database, subject)) for subject in subjects} == {("w1", "w2", "w3")}


def test_a_row_that_the_database_refuses_is_parked_in_its_lane_and_other_lanes_go_on(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w2", do="refuse"), said("w2", "s-2"))
        await replica.pool.execute(
            "UPDATE messaging.parked SET value = convert_to(replace(convert_from(value, 'UTF8'), 'refuse', 'nul'), 'UTF8')"
        )
        await replica.take(said("w1", do="open", source="/desk"), said("w1", "s-2", do="open", source="/desk"), said("w3"))
        await replica.workers.look_again()

    during(database, scenario)
    assert journal(database, "s-2") == ["w1", "w2"]
    assert journal(database) == ["w1"]
    assert [(row[0], row[2]) for row in parked(database)] == [("parked", "s-1"), ("waiting", "s-1")]


def test_a_row_whose_type_is_no_longer_known_does_not_stop_the_others(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w2", "s-2"), said("w2"), said("w1", do="open", source="/desk"))
        await replica.pool.execute(
            "UPDATE messaging.parked SET headers = replace(headers::text, 'test-said', 'gone')::jsonb WHERE subject = 's-2'"
        )
        await hurried(replica)
        await replica.workers.look_again()

    during(database, scenario)
    assert journal(database) == ["w1", "w2"]
    assert [row[2] for row in parked(database)] == ["s-2"]


def test_content_that_the_database_refuses_is_parked_in_its_lane(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), said("w2", do="nul"), said("w3"), said("w4", source="/desk"))

    during(database, scenario)
    assert journal(database) == ["w1", "w4"]
    assert [(row[0], row[2]) for row in parked(database)] == [("parked", "s-1"), ("waiting", "s-1")]


def test_an_event_too_large_for_the_broker_parks_what_caused_it(database: FreshDatabase) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.take(said("w1", do="open"), said("w2", do="huge", arg="900001"), said("w3", source="/desk"))

    during(database, scenario)
    assert journal(database) == ["w1", "w3"]
    assert [row[3] for row in parked(database)] == ["handler-TooLarge"]


def test_an_event_is_looked_at_under_the_name_it_was_set_aside_by(database: FreshDatabase) -> None:
    """A referral under somebody else's source has a claim of its own, which must not turn into the name it took."""

    def on_referral(event: Any, state: Any, facts: Any) -> Any:
        return Early("not-yet") if state is None else Decision(kit.Journal(("spoofed",)))

    class Sent(kit.Said):
        type = "care.rapport.referral.test-sent.v1"

    routes = Routes(Kept("journal", kit.Journal, on(Sent, on_referral), on(kit.Said, kit.on_said)))
    record = said("w", source="/rapport/intake", topic="referrals.inbound.v1", id="1")
    sent = kit.typed(record, Sent.type)

    async def scenario(replica: Replica) -> None:
        await replica.take(sent, said("w1", do="open"))
        await replica.workers.look_again()

    nothing_is_left_after(database, scenario, routes=routes)
    assert inbox(database)["spoofed:/rapport/intake", "1"] == "applied"
    assert ("/rapport/intake", "1") not in inbox(database)
