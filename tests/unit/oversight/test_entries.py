"""What oversight keeps of a record: ours whole; of inbound ones only what they were, never whom they name."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from contracts.binary import Headers, attributes_of, to_headers
from contracts.structured import read_structured
from contracts.topics import topic_of
from ledger.entry import LedgerEntry, flaw_of
from oversight.domain.entry import once
from oversight.entries import entries_of

GOLDEN = Path(__file__).parents[2] / "contract" / "golden"
KEY = b"a key of sixteen bytes or more"
REFERRAL = "care.rapport.referral.submitted.v1"
CHOICE = "care.rapport.clinical.choice-made.v1"
OPENED = "care.rapport.intake.episode-opened.v1"


@dataclass(frozen=True)
class Record:
    topic: str
    headers: Headers
    value: bytes | None
    partition: int = 3
    offset: int = 7


def golden(event_type: str, **changed: str) -> Record:
    members = json.loads((GOLDEN / f"{event_type}.json").read_text()) | changed
    envelope, data = read_structured(json.dumps(members))
    return Record(topic_of(event_type), to_headers(attributes_of(envelope)), data)


def entry_of(record: Record, key: bytes) -> LedgerEntry:
    return entries_of([record], key)[0]


def test_an_event_of_ours_is_kept_whole() -> None:
    record = golden(OPENED)
    entry = entry_of(record, KEY)
    assert entry.data == record.value
    assert flaw_of(entry) is None
    envelope, _ = read_structured((GOLDEN / f"{OPENED}.json").read_text())
    assert json.loads(entry.attributes or "") == attributes_of(envelope)
    assert (entry.source, entry.id, entry.type, entry.subject) == (envelope.source, envelope.id, OPENED, envelope.subject)


@pytest.mark.parametrize("event_type", [REFERRAL, CHOICE, "care.rapport.therapist.listed.v1"])
def test_of_an_inbound_record_no_body_is_kept(event_type: str) -> None:
    entry = entry_of(golden(event_type), KEY)
    assert entry.type == event_type
    assert (entry.attributes, entry.data) == (None, None)


def test_only_a_subject_that_is_an_episode_is_kept_of_a_desk_s_record_and_none_of_a_referral() -> None:
    assert entry_of(golden(CHOICE), KEY).subject == "0b7c4f0e-9a57-5a53-8a0e-2c6f4d1f7a90"
    assert entry_of(golden(CHOICE, subject="Alex Sample"), KEY).subject is None
    assert entry_of(golden(REFERRAL), KEY).subject is None


def test_a_type_that_is_not_known_is_not_copied() -> None:
    record = golden(CHOICE)
    headers = [(name, b"Alex Sample" if name == "ce_type" else raw) for name, raw in record.headers]
    assert entry_of(replace(record, headers=headers), KEY).type == "unknown"


@pytest.mark.parametrize(
    "record",
    [
        Record("intake.events.v1", [], b"{}"),
        Record("intake.events.v1", [("ce_source", b"\xff")], b"{}"),
        replace(golden(OPENED), topic="matching.events.v1"),
        replace(golden(OPENED), value=None),
        Record("clinical.inbound.v1", [], b"Alex Sample"),
    ],
)
def test_what_cannot_be_read_or_is_not_its_owner_s_is_known_by_its_place(record: Record) -> None:
    entry = entry_of(record, KEY)
    assert (entry.source, entry.id, entry.type) == (f"kafka:{record.topic}", "3-7", "unreadable")
    assert (entry.subject, entry.attributes, entry.data) == (None, None, None)


def test_digests_are_keyed_so_that_nobody_can_try_names_against_them() -> None:
    record = golden(REFERRAL)
    assert entry_of(record, KEY).digest != entry_of(record, KEY + b"!").digest


def test_an_event_found_twice_is_one_entry_and_another_content_under_its_identity_is_told_apart() -> None:
    first, again = entries_of([golden(OPENED)] * 2, KEY)
    assert first.digest != again.digest, "each has a salt of its own"
    other = again._replace(data=b"other")
    assert once([first, again, other]) == ([first], [other])


@pytest.mark.parametrize("source", ["/rapport/intake", "kafka:clinical.inbound.v1"])
def test_what_an_outsider_sends_under_a_name_of_ours_is_known_by_its_place(source: str) -> None:
    entry = entry_of(golden(CHOICE, source=source), KEY)
    assert (entry.source, entry.id, entry.type, entry.subject) == ("kafka:clinical.inbound.v1", "3-7", "unreadable", None)


@pytest.mark.parametrize("event_type", ["care.rapport.oversight.content-erased.v1", "care.rapport.intake.handoff-accepted.v1"])
def test_a_type_of_ours_counts_on_our_own_topics_only(event_type: str) -> None:
    entry = entry_of(replace(golden(event_type, source="/portal/demo"), topic=topic_of(CHOICE)), KEY)
    assert entry.type == "unknown"
