"""What a decision becomes before it is written: rows of the outbox, columns of the one write, and whose trouble it is."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.partitioner import DefaultPartitioner
from tests.support import kit
from tests.support.kit import Journal, Noted, said

from contracts.envelope import Envelope
from messaging import outbox, patience
from messaging.decision import Decision, DueTimer, Refused, Timer
from messaging.draft import Draft
from messaging.message import Received
from messaging.snapshot import Subject
from messaging.trouble import Contended, NewerState, is_infrastructure

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
CAUSE = Envelope(
    id="cause", source="/portal", type="t", time=NOW, correlationid="whole", sensitivity="part2", traceparent=TRACE
)  # fmt: skip


def headers(row: Any) -> dict[str, str]:
    return dict(json.loads(row[3]))


def test_the_events_of_a_decision_are_counted_on_and_each_is_a_whole_cloudevent() -> None:
    rows = outbox.rows("/rapport/followup", "t", "s-1", [Noted(word="a"), Noted(word="b")], CAUSE, NOW, 41)
    assert [headers(row)["ce_sequence"] for row in rows] == [f"{n:020d}" for n in (42, 43)]
    assert len({headers(row)["ce_id"] for row in rows}) == 2
    told = headers(rows[0])
    assert {name: told[name] for name in told if name not in ("ce_id", "ce_sequence")} == {
        "ce_type": Noted.type, "ce_dataschema": f"/schemas/{Noted.type}.json", "ce_specversion": "1.0",
        "ce_source": "/rapport/followup", "ce_subject": "s-1", "ce_time": "2026-11-23T09:00:00Z",
        "ce_recordedtime": "2026-11-23T09:00:00Z", "ce_correlationid": "whole", "ce_causationid": "cause",
        "ce_actor": "service:followup", "ce_sensitivity": "part2", "content-type": "application/json", "traceparent": TRACE,
    }  # fmt: skip


def test_what_a_command_or_a_timer_of_ours_causes_names_what_caused_that() -> None:
    asked = CAUSE.model_copy(update={"source": "/rapport/followup/http", "causationid": None})
    assert "ce_causationid" not in headers(outbox.rows("/rapport/followup", "t", "s", [Noted(word="a")], asked, NOW, 0)[0])
    timer = CAUSE.model_copy(update={"source": "/rapport/followup/timer", "causationid": "set-by"})
    assert (
        headers(outbox.rows("/rapport/followup", "t", "s", [Noted(word="a")], timer, NOW, 0)[0])["ce_causationid"] == "set-by"
    )


@pytest.mark.parametrize("key", ["s-1", "é", "x" * 500, "\U0001f600"])
def test_the_shard_of_a_key_is_the_partition_that_kafka_gives_it(key: str) -> None:
    assert outbox.shard_of(key) == DefaultPartitioner()(key.encode(), list(range(12)), list(range(12)))


def test_an_event_of_the_largest_size_is_a_row_and_one_byte_more_is_too_large() -> None:
    frame = len(Noted(word="", blob="x").model_dump_json()) - 1
    fits = Noted(word="", blob="x" * (outbox.MAX_VALUE - frame))
    assert len(outbox.rows("/s", "t", "s", [fits], CAUSE, NOW, 0)[0][4]) == outbox.MAX_VALUE
    with pytest.raises(outbox.TooLarge):
        outbox.rows("/s", "t", "s", [fits.model_copy(update={"blob": fits.blob + "x"})], CAUSE, NOW, 0)


def draft_of(*decided: Any, subject: Subject | None = None) -> tuple[Draft, Subject]:
    draft = Draft(kit.SOURCE, kit.OWN_TOPIC, NOW)
    subject = subject or Subject(kit.ROUTES.kept["journal"], "s-1", version=4, sequence=7)
    for number, one in enumerate(decided):
        draft.apply(kit.received(said(f"w{number}", id=f"e-{number}")), subject, one)
    return draft, subject


@dataclass(frozen=True)
class Seat:
    number: int


def test_decisions_on_one_subject_are_one_row_of_state_and_count_on() -> None:
    first = Decision(Journal(("a",)), publish=[Noted(word="a")], reply={"n": 1}, effects=[Seat(1)], hasten=["bell"])
    draft, subject = draft_of(first, Refused("no", publish=[Noted(word="b")]), Decision(Journal(("a", "c"))))
    columns = draft.columns()
    assert columns[1:8] == (("journal",), ("s-1",), (4,), (1,), (9,), ('{"words":["a","c"]}',), ("[]",))
    assert [claim[2] for claim in draft.claims] == ["e-0", "e-1", "e-2"]
    assert [claim[4:6] for claim in draft.claims] == [
        ("applied", '{"reason":null,"reply":{"n":1}}'), ("refused", '{"reason":"no","reply":null}'), ("applied", None),
    ]  # fmt: skip
    assert draft.effects == [(1, '{"effect":"Seat","number":1}')]
    assert (draft.hasten, subject.sequence) == (["bell"], 9)


def test_a_decision_too_large_leaves_nothing_in_the_draft() -> None:
    large = Decision(Journal(("a",)), publish=[Noted(word="a"), Noted(word="b", blob="x" * outbox.MAX_VALUE)])
    with pytest.raises(outbox.TooLarge):
        draft_of(large, subject=(subject := Subject(kit.ROUTES.kept["journal"], "s-1")))
    assert (subject.number, subject.sequence, subject.state) == (0, 0, None)


def test_of_timers_what_was_said_last_counts() -> None:
    draft, _ = draft_of(
        Decision(timers=[Timer("a", NOW), Timer("b", NOW)]), Decision(cancel=["a"]),
        Decision(timers=[Timer("b", NOW + timedelta(hours=1))], cancel=["b"]),
    )  # fmt: skip
    assert draft.timers[1, "a"] is None
    assert (draft.timers[1, "b"] or ())[3] == NOW + timedelta(hours=1)


def test_a_timer_that_fires_is_gone_unless_it_is_set_again() -> None:
    envelope = Envelope(id="t-1", source=f"{kit.SOURCE}/timer", type="timer:bell", time=NOW)
    kept, route = kit.ROUTES.timers["bell"]
    fired = Received(envelope, (envelope.source, "t-1"), b"", kept, route, "s-1", DueTimer("bell", NOW))
    once: Decision[Journal] = Decision()
    again: Decision[Journal] = Decision(timers=[Timer("bell", NOW)])
    for decided, stands in ((once, False), (again, True)):
        draft, subject = draft_of()
        draft.apply(fired, subject, decided)
        assert bool(draft.timers[1, "bell"]) == stands


def test_a_timer_without_patience_never_fires_anyway_in_whatever_zone_it_is_due() -> None:
    west = NOW.astimezone(timezone(timedelta(hours=-8)))
    draft, _ = draft_of(Decision(timers=[Timer("bell", west, patience=None)]))
    assert (draft.timers[1, "bell"] or ())[4] == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "held"),
    [
        (ConnectionResetError(), True), (TimeoutError(), True), (KafkaConnectionError(), True), (Contended(), True),
        (NewerState("journal"), True), (asyncpg.DeadlockDetectedError("x"), True), (asyncpg.TooManyConnectionsError("x"), True),
        (asyncpg.CannotConnectNowError("x"), True), (asyncpg.LockNotAvailableError("x"), True),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), True), (asyncpg.InterfaceError("x"), True),
        (asyncpg.ConnectionDoesNotExistError("x"), True), (asyncpg.AdminShutdownError("x"), True),
        (asyncpg.ReadOnlySQLTransactionError("x"), True), (asyncpg.InsufficientPrivilegeError("x"), True),
        (asyncpg.InternalClientError("x"), True),
        (asyncpg.exceptions._base.DataError("x"), False), (asyncpg.UntranslatableCharacterError("x"), False),
        (asyncpg.CheckViolationError("x"), False), (asyncpg.UndefinedFunctionError("x"), False),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x"), False), (LookupError(), False), (RecursionError(), False),
    ],
)  # fmt: skip
def test_only_listed_causes_are_the_infrastructures(error: Exception, held: bool) -> None:
    assert is_infrastructure(error) == held


def bisected(batch: list[int], poison: set[int]) -> tuple[list[int], list[int], int]:
    done: list[int] = []
    alone: list[int] = []
    acts = 0

    async def act(part: Any) -> None:
        nonlocal acts
        acts += 1
        if poison & set(part):
            raise LookupError
        done.extend(part)

    async def park(one: Any, _: Exception) -> None:
        alone.append(one)

    asyncio.run(patience.bisecting(batch, act, park))
    return done, alone, acts


@pytest.mark.parametrize("poison", [set[int](), {0}, {499}, {7, 8, 300}])
def test_what_fails_is_found_alone_in_few_acts_and_the_rest_is_done_in_order(poison: set[int]) -> None:
    done, alone, acts = bisected(list(range(500)), poison)
    assert (done, alone) == ([n for n in range(500) if n not in poison], sorted(poison))
    assert acts <= 1 + 20 * len(poison)


def test_trouble_of_the_infrastructure_is_not_bisected() -> None:
    async def act(_: Any) -> None:
        raise ConnectionError

    async def park(_: Any, __: Exception) -> None:
        pytest.fail("nothing is parked for it")

    with pytest.raises(ConnectionError):
        asyncio.run(patience.bisecting([1, 2], act, park))
