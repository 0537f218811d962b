"""An entry's canonical bytes are those of RFC 8785, and its digest commits to what may be erased."""

import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import LedgerEntry, canonical, digest_of, flaw_of, leaf_of
from ledger.tree import leaf_hash

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ZONES = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES | st.just(UTC))  # noqa: DTZ001
ENTRIES = st.builds(
    LedgerEntry, source=TEXT, id=TEXT, type=TEXT, topic=TEXT, part=st.integers(0, 2**31), position=st.integers(0, 2**53 - 1),
    subject=st.none() | TEXT, recorded_at=TIMES, digest=st.binary(min_size=32, max_size=32),
)  # fmt: skip
SALT = bytes(range(16))
BODY = LedgerEntry(
    "/rapport/intake", "e-1", "care.rapport.intake.referral-received.v1", "intake.events.v1", 3, 42, "episode-1",
    datetime(2026, 11, 23, 21, 30, 0, 123456, UTC), digest_of(SALT, '{"a":1}', b"data"), SALT, '{"a":1}', b"data",
)  # fmt: skip
EDGES = "".join(map(chr, range(0x20))) + '"\\/\x7f\x80\u2028\u2029\ufeff\uffff\U0001f600é<>&'


def members(entry: LedgerEntry) -> dict[str, Any]:
    at = entry.recorded_at.astimezone(UTC).strftime("%m-%dT%H:%M:%S.%fZ")
    whole = {
        "digest": entry.digest.hex(), "id": entry.id, "offset": entry.position, "partition": entry.part, "source": entry.source,
        "recorded": f"{entry.recorded_at.astimezone(UTC).year:04d}-{at}", "subject": entry.subject, "topic": entry.topic,
        "type": entry.type,
    }  # fmt: skip
    return {name: value for name, value in whole.items() if value is not None}


@given(ENTRIES)
def test_the_canonical_bytes_are_those_of_the_reference(entry: LedgerEntry) -> None:
    assert canonical(entry) == rfc8785.dumps(members(entry))


@pytest.mark.parametrize("letter", EDGES, ids=lambda letter: f"U+{ord(letter):04X}")
def test_every_letter_that_has_a_rule_is_written_by_it(letter: str) -> None:
    assert canonical(BODY._replace(id=letter)) == rfc8785.dumps(members(BODY._replace(id=letter)))


def test_the_bytes_are_these() -> None:
    assert canonical(BODY._replace(digest=bytes(32), subject=None)) == (
        b'{"digest":"%b","id":"e-1","offset":42,"partition":3,"recorded":"2026-11-23T21:30:00.123456Z","source":"/rapport/intake",'
        b'"topic":"intake.events.v1","type":"care.rapport.intake.referral-received.v1"}' % (b"00" * 32)
    )
    assert b'"recorded":"2026-11-23T21:30:00.000000Z"' in canonical(
        BODY._replace(recorded_at=datetime(2026, 11, 23, 21, 30, tzinfo=UTC))
    )


def test_the_leaf_is_the_hash_of_the_bytes_whatever_became_of_the_body() -> None:
    erased = BODY._replace(salt=None, attributes=None, data=None)
    assert leaf_of(BODY) == leaf_of(erased) == leaf_hash(canonical(BODY))
    assert json.loads(canonical(BODY))["subject"] == "episode-1"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "\ud800"}, {"subject": "x\udfff"}, {"position": 2**53}, {"position": -1}, {"part": -1}, {"part": 2**53},
        {"digest": bytes(31)}, {"digest": b""}, {"recorded_at": datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        canonical(BODY._replace(**change))


def test_the_digest_is_of_salt_attributes_and_data() -> None:
    assert digest_of(SALT, "ä", b"\0") == sha256(SALT + "ä".encode() + b"\0\0").digest()


@pytest.mark.parametrize(
    ("salt", "attributes"), [(b"", ""), (bytes(15), ""), (bytes(17), ""), (SALT, "a\0b"), (SALT, "\ud800")]
)
def test_no_two_bodies_can_have_one_digest(salt: bytes, attributes: str) -> None:
    with pytest.raises(ValueError):
        digest_of(salt, attributes, b"")
    assert "no digest" in (flaw_of(BODY._replace(salt=salt, attributes=attributes)) or "")


def test_a_body_that_is_whole_or_erased_has_no_flaw() -> None:
    assert flaw_of(BODY) is None
    assert flaw_of(BODY._replace(salt=None, attributes=None, data=None)) is None


@pytest.mark.parametrize("change", [{"data": b"Data"}, {"attributes": "{}"}, {"salt": bytes(16)}, {"digest": bytes(32)}])
def test_a_body_that_is_not_what_the_digest_says_is_named(change: dict[str, Any]) -> None:
    assert "has the digest" in (flaw_of(BODY._replace(**change)) or "")


@pytest.mark.parametrize("gone", [{"salt"}, {"attributes"}, {"data"}, {"salt", "data"}, {"attributes", "data"}])
def test_a_body_of_which_only_a_part_is_there_is_named(gone: set[str]) -> None:
    flaw = flaw_of(BODY._replace(**dict.fromkeys(gone)))  # type: ignore[arg-type]
    assert flaw is not None
    assert all(f"no {name}" in flaw for name in gone)
