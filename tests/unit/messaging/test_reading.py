"""What becomes of a record before anything is decided: read, passed over, barred, or set aside with a reason and a place."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import kit
from tests.support.kit import Journal, Record, Said, said

from contracts.topics import CLINICAL, FOLLOWUP, INTAKE, REFERRALS
from messaging.decision import Invalid
from messaging.draft import digest_of
from messaging.message import Received, Trouble, by_subject
from messaging.parking import headers_as_text, headers_of
from messaging.received import bind, read
from messaging.routes import Kept, Routes, due, on


def trouble(record: Any, routes: Routes = kit.ROUTES) -> tuple[str, str | None] | None:
    message = read(record, routes)
    return (message.trouble.reason, message.trouble.path) if message and message.trouble else None


def test_a_record_is_read_with_its_route_its_subject_and_its_claim() -> None:
    message = kit.received(said("w1", "s-7", id="1"))
    assert (message.claim, message.subject, message.data) == (("/portal", "1"), "s-7", Said(word="w1"))
    assert message.kept is kit.ROUTES.kept["journal"]


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (kit.broken(b"x"), ("not-a-cloudevent", "ce_specversion")),
        (kit.broken(None), ("not-a-cloudevent", "value")),
        (kit.broken(b"{", (("content-type", b"application/cloudevents+json"),)), None),
        (kit.with_header(said("w"), "ce_time", b"yesterday"), ("not-a-cloudevent", "ce_time")),
        (kit.with_header(said("w"), "ce_subject", b"a\x00b"), ("not-a-cloudevent", "ce_subject")),
        (kit.with_header(said("w"), "ce_id", b"\xff"), ("not-a-cloudevent", "ce_id")),
        (kit.with_header(said("w"), "ce_subject", b""), ("subject-missing", "ce_subject")),
        (said("w", value=b"[]"), ("schema-model-type", "/")),
        (said("w", value=b'{"word": 7}'), ("schema-string-type", "/word")),
        (said("w", value=b'{"word": "\\u0000"}'), ("schema-null-character", "/")),
        (said("w", source="/rapport/intake"), ("foreign-source", "ce_source")),
        (said("w", source="kafka:clinical.inbound.v1", id="3-17"), ("foreign-source", "ce_source")),
        (said("w", source="spoofed:/clinic"), ("foreign-source", "ce_source")),
        (said("w", topic=INTAKE), ("foreign-source", "ce_source")),
        (kit.typed(said("w"), "care.rapport.clinical.unheard-of.v1"), ("unknown-type", "ce_type")),
        (kit.typed(said("w"), "command:test-ask"), ("unknown-type", "ce_type")),
    ],
)
def test_what_cannot_be_read_has_a_reason_and_a_place_and_never_a_value(
    record: Any, found: tuple[str, str | None] | None
) -> None:
    assert found is None or trouble(record) == found
    assert trouble(record)


def test_events_that_are_others_concern_and_new_types_of_our_own_are_passed_over() -> None:
    assert read(kit.typed(said("w"), "care.rapport.clinical.choice-made.v1"), kit.ROUTES) is None
    assert (
        read(kit.typed(said("w", topic=FOLLOWUP, source="/rapport/followup"), "care.rapport.followup.new.v9"), kit.ROUTES)
        is None
    )


def test_who_uses_our_name_on_the_referrals_topic_is_answered_under_another_claim() -> None:
    message = kit.received(said("w", topic=REFERRALS, source="/rapport/intake", id="1"))
    assert (message.claim, message.trouble) == (("spoofed:/rapport/intake", "1"), None)


def test_a_record_without_an_identity_is_known_by_its_place() -> None:
    message = read(replace(kit.broken(b"x"), partition=3, offset=14), kit.ROUTES)
    assert message
    assert (message.claim, message.value, message.subject) == ((f"kafka:{CLINICAL}", "3-14"), b"x", None)


def test_a_broken_payload_reaches_its_handler_when_its_sender_can_be_told() -> None:
    def whose(broken: Invalid) -> str | None:
        return broken.raw.get("owner")

    routes = Routes(Kept("journal", Journal, on(Said, kit.on_said, invalid_subject=whose)))
    told = read(said("w", value=b'{"owner": "s-9"}'), routes)
    assert told
    assert (told.subject, told.trouble) == ("s-9", None)
    assert isinstance(told.data, Invalid)
    assert trouble(said("w", value=b'{"nobody": 1}'), routes) == ("schema-missing", "/word")
    assert trouble(said("w", value=b"not json"), routes) == ("schema-json-invalid", "/")


NAMES = st.sampled_from(["ce_id", "ce_time", "CE_SUBJECT", "content-type", "traceparent", "x-other", "x\0y", ""]) | st.text(
    max_size=9
)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=12)), max_size=6)


@given(HEADERS, st.none() | st.binary(max_size=60))
def test_reading_never_raises_and_headers_that_are_read_come_back_as_they_were(
    headers: list[tuple[str, bytes | None]], value: bytes | None
) -> None:
    given_headers = [(name.encode(errors="ignore").decode(), raw) for name, raw in headers]
    read(Record((*said("w").headers, *given_headers), value), kit.ROUTES)
    read(Record(tuple(given_headers), value), kit.ROUTES)
    kept = headers_as_text(Record(tuple(given_headers), value))
    ours = [(name, raw) for name, raw in given_headers if name.lower() in ("ce_id", "ce_time", "ce_subject")]
    assert [pair for pair in headers_of(kept) if pair[0].lower() in ("ce_id", "ce_time", "ce_subject")] == ours
    assert all("\0" not in name + (text or "") for name, text in kept)


def test_a_digest_tells_content_subject_and_type_apart_and_not_the_way_it_came() -> None:
    def digest(**changes: Any) -> bytes:
        return digest_of(kit.received(said("w", **{"subject": "s-1", **changes})))

    assert digest() == digest(time=datetime.now(UTC), offset=9, partition=4)
    assert len({digest(), digest(subject="s-2"), digest(arg="x"), digest(do="open")}) == 4


def test_a_command_binds_to_its_route_and_an_unknown_one_has_none() -> None:
    assert kit.asked("k", "w").claim == ("/rapport/followup/http", "k")
    with pytest.raises(KeyError):
        bind(kit.envelope_of("k").model_copy(update={"type": "command:unknown"}), b"{}", kit.ROUTES)


def test_two_routes_for_one_event_or_timer_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes for bell"):
        Routes(Kept("a", Journal, due("bell", kit.on_bell)), Kept("b", Journal, due("bell", kit.on_bell)))


def test_messages_are_grouped_by_subject_in_their_order_and_those_without_stay_alone() -> None:
    batch = [kit.received(said(word, subject)) for word, subject in (("1", "a"), ("2", "b"), ("3", "a"), ("4", "b"))]
    nobody = replace(batch[0], kept=None, subject=None, trouble=Trouble("x"))
    placed = list(enumerate([*batch[:2], nobody, *batch[2:], nobody]))
    assert [[place for place, _ in group] for group in by_subject(placed)] == [[0, 3], [1, 4], [2], [5]]


class _Other(Said):
    type: ClassVar[str] = "care.rapport.clinical.test-other.v1"


def test_a_route_may_derive_its_own_subject_from_the_data() -> None:
    routes = Routes(Kept("journal", Journal, on(_Other, kit.on_said, subject=lambda data: f"of-{data.word}")))
    message = read(kit.typed(said("w"), _Other.type), routes)
    assert isinstance(message, Received)
    assert message.subject == "of-w"
