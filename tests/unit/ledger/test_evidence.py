"""A document proves what it says to the holder of a public key, and whatever was changed in it is named."""

import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import evidence, proofs
from ledger.checkpoints import Checkpoint, cosign, sign_checkpoint
from ledger.entry import LedgerEntry, digest_of, leaf_of
from ledger.evidence import EvidenceError, Included, Proved, check
from ledger.notes import COSIGNATURE, Signer, generate
from ledger.tree import Frontier, root_of

LOG = Signer("rapport.example/oversight", bytes(32))
WITNESS = Signer("witness.example/w1", bytes(range(32)), COSIGNATURE)
START = datetime(2026, 11, 23, 21, 30, 0, 123456, UTC)
SIZE, OLD = 300, 131
HANDOFF = (7, 130, 299)


def entry(number: int) -> LedgerEntry:
    salt, attributes, data = number.to_bytes(16), f'{{"n":"{number}"}}', b'{"\xc3\xa9":%d}' % number
    return LedgerEntry(
        "/rapport/matching", f"e-{number}", "care.rapport.matching.handoff-offered.v1", "matching.events.v1", number % 12,
        number, f"episode-{number}" if number % 3 else None, START + timedelta(seconds=number),
        digest_of(salt, attributes, data), salt, attributes, data,
    )  # fmt: skip


ENTRIES = [entry(number) for number in range(SIZE)]
LEAVES = [leaf_of(each) for each in ENTRIES]
STORED = {(0, index): leaf for index, leaf in enumerate(LEAVES)}
STORED |= {(level, index): each for level, index, each in Frontier().extended(LEAVES)[1]}
NOTE = cosign(sign_checkpoint(Checkpoint(LOG.name, SIZE, root_of(LEAVES)), LOG), WITNESS, 1_790_000_000)
OLD_NOTE = sign_checkpoint(Checkpoint(LOG.name, OLD, root_of(LEAVES[:OLD])), LOG)
KEYS = [LOG.verifier, WITNESS.verifier]


def document(*entries: LedgerEntry) -> str:
    chosen = entries or tuple(ENTRIES[index] for index in HANDOFF)
    return evidence.inclusion_document(
        NOTE, [Included(each.position, each, proofs.inclusion_proof(each.position, SIZE, STORED)) for each in chosen]
    )


PROOF = document()
CONTINUED = evidence.consistency_document(OLD_NOTE, NOTE, proofs.consistency_proof(OLD, SIZE, STORED))


def changed(text: str, change: Callable[[Any], None]) -> str:
    whole = json.loads(text)
    change(whole)
    return json.dumps(whole)


def test_the_events_of_a_handoff_are_proved_by_one_file() -> None:
    checked = check(PROOF.encode(), KEYS)
    assert (checked.origin, checked.size, checked.root) == (LOG.name, SIZE, root_of(LEAVES))
    assert (checked.signers, checked.cosigned) == ([LOG.name, WITNESS.name], {WITNESS.name: 1_790_000_000})
    assert checked.entries == [Proved(index, each) for index, each in ((index, ENTRIES[index]) for index in HANDOFF)]


def test_a_continued_log_is_proved_by_its_two_checkpoints() -> None:
    checked = check(CONTINUED, KEYS)
    assert (checked.old_size, checked.size, checked.entries) == (OLD, SIZE, [])


def test_an_erased_body_leaves_the_proof_as_it_was() -> None:
    erased = ENTRIES[7]._replace(salt=None, attributes=None, data=None)
    assert check(document(erased), KEYS).entries == [Proved(7, erased)]


def test_the_file_has_the_members_that_were_agreed() -> None:
    whole = json.loads(PROOF)
    assert set(whole) == {"format", "checkpoint", "entries"}
    assert set(whole["entries"][0]) == {"index", "entry", "salt", "attributes", "data", "path"}
    assert set(whole["entries"][0]["entry"]) == {
        "digest", "id", "offset", "partition", "recorded", "source", "subject", "topic", "type",
    }  # fmt: skip
    assert "subject" not in json.loads(document(ENTRIES[6]))["entries"][0]["entry"]
    assert set(json.loads(CONTINUED)) == {"format", "old", "new", "path"}


def _set(member: str, value: object) -> Callable[[Any], None]:
    return lambda whole: whole["entries"][1].__setitem__(member, value)


def _say(member: str, value: object) -> Callable[[Any], None]:
    return lambda whole: whole["entries"][1]["entry"].__setitem__(member, value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_set("index", 131), "does not lead to the root"),
        (_set("index", 300), "no such leaf"),
        (_set("index", -1), "no such leaf"),
        (_set("index", 10**4000), "no such leaf"),
        (_set("index", True), "index is of another type"),
        (_set("index", 1.0), "index"),
        (_set("path", []), "too short"),
        (_set("path", [1]), "not a list of texts"),
        (_set("path", ["AAAA"]), "another length"),
        (_set("path", ["?"]), ""),
        (_set("path", {}), "path is of another type"),
        (_set("salt", None), "only a part"),
        (_set("salt", "00" * 16), "has the digest"),
        (_set("salt", "00"), "no digest"),
        (_set("salt", "AB"), "hexadecimal"),
        (_set("salt", "0"), ""),
        (_set("data", "AAAA"), "has the digest"),
        (_set("data", "AAA"), ""),
        (_set("data", None), "no data"),
        (_set("attributes", "{}"), "has the digest"),
        (_set("attributes", "\0"), "no digest"),
        (_set("attributes", 1), "attributes"),
        (_set("more", 1), "does not have"),
        (_set("entry", []), "entry is of another type"),
        (_set("entry", {}), "digest is missing"),
        (_say("type", "care.rapport.matching.other.v1"), "does not lead"),
        (_say("subject", "other"), "does not lead"),
        (_say("subject", None), "subject is of another type"),
        (_say("source", "x"), "does not lead"),
        (_say("more", ""), "not have"),
        (_say("id", "\ud800"), "surrogates"),
        (_say("offset", 2**60), "cannot be written"),
        (_say("offset", "1"), "offset"),
        (_say("partition", False), "partition"),
        (_say("digest", "00" * 32), "does not lead"),
        (_say("digest", "00"), "cannot be"),
        (_say("recorded", "2026-11-23T21:32:10.123456+00:00"), "six digits"),
        (_say("recorded", "2026-11-23"), "zone"),
        (_say("recorded", "2026-11-23T21:32:11.123456Z"), "does not lead"),
        (_say("recorded", "today"), ""),
        (_say("recorded", "0001-01-01T00:00:00.000000+23:00"), ""),
    ],
)
def test_the_first_bad_entry_is_named_with_what_is_wrong(change: Callable[[Any], None], reason: str) -> None:
    with pytest.raises(EvidenceError, match=rf"entry 2 of the document: .*{reason}"):
        check(changed(PROOF, change), KEYS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda whole: whole.pop("entries"), "entries is missing"),
        (lambda whole: whole.update(entries=[]), "no entry"),
        (lambda whole: whole.update(entries=[None]), "entry 1 of the document: it is not an object"),
        (lambda whole: whole.update(format="rapport-ledger-proof/v2"), "the format is neither"),
        (lambda whole: whole.update(format=[]), "the format is neither"),
        (lambda whole: whole.pop("format"), "the format is neither"),
        (lambda whole: whole.update(more=1), "does not have"),
        (lambda whole: whole.update(checkpoint=1), "checkpoint is of another"),
        (lambda whole: whole.update(checkpoint=NOTE[1:]), "checkpoint: the signature of"),
        (lambda whole: whole.update(checkpoint=""), "checkpoint: the text does not end"),
        (lambda whole: whole.update(checkpoint=OLD_NOTE), "entry 1 of the document: "),
        (lambda whole: whole["entries"].append(whole["entries"][0]), "there twice"),
    ],
)
def test_a_document_of_another_form_is_refused(change: Callable[[Any], None], reason: str) -> None:
    with pytest.raises(EvidenceError, match=reason):
        check(changed(PROOF, change), KEYS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda whole: whole.update(old=whole["new"], new=whole["old"]), "only grows"),
        (lambda whole: whole.update(path=[]), "too short"),
        (lambda whole: whole["path"].pop(), "too short"),
        (lambda whole: whole["path"].reverse(), "does not lead"),
        (lambda whole: whole.update(path=[None]), "texts"),
        (lambda whole: whole.update(old=1), "old is of another type"),
        (lambda whole: whole.update(old="x"), "old: "),
        (lambda whole: whole.update(old=whole["new"]), "too long"),
        (lambda whole: whole.pop("new"), "new is missing"),
    ],
)
def test_a_log_that_was_not_continued_is_refused(change: Callable[[Any], None], reason: str) -> None:
    with pytest.raises(EvidenceError, match=reason):
        check(changed(CONTINUED, change), KEYS)


def test_checkpoints_of_two_logs_prove_nothing_together() -> None:
    other = generate("rapport.example/other")
    note = sign_checkpoint(Checkpoint(other.name, SIZE, root_of(LEAVES)), other)
    with pytest.raises(EvidenceError, match="two logs"):
        check(evidence.consistency_document(OLD_NOTE, note, []), [*KEYS, other.verifier])


def test_nothing_is_proved_to_who_has_another_key() -> None:
    for keys in ([], [generate(LOG.name).verifier], [WITNESS.verifier]):
        with pytest.raises(EvidenceError, match="checkpoint: no"):
            check(PROOF, keys)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[]",
        b"null",
        b"{",
        b'{"format":NaN}',
        b'{"a":1,"a":1}',
        b"[" * 100_000,
        b'"\\ud800"',
        b'{"a":' * 50_000,
        b"1" * 5000,
        PROOF.encode("utf-16"),
        PROOF.replace('"index"', '"index":1,"index"').encode(),
    ],
    ids=repr,
)
def test_what_is_not_json_or_says_a_thing_twice_is_refused(text: bytes) -> None:
    with pytest.raises(EvidenceError):
        check(text, KEYS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
PLACES = [
    (),
    ("format",),
    ("checkpoint",),
    ("entries",),
    ("entries", 0),
    ("entries", 0, "entry"),
    ("entries", 2, "index"),
    ("entries", 1, "path"),
    ("entries", 1, "path", 0),
    ("entries", 0, "salt"),
    ("entries", 0, "data"),
    ("entries", 0, "attributes"),
    *(("entries", 0, "entry", name) for name in json.loads(PROOF)["entries"][0]["entry"]),
]


@given(st.sampled_from(PLACES), JSON)
def test_no_value_in_any_place_is_more_than_a_refusal(place: tuple[str | int, ...], value: object) -> None:
    whole: Any = json.loads(PROOF)
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    if place:
        inner[place[-1]] = value
    _refused_or_the_same(json.dumps(whole if place else value))


@given(
    st.binary()
    | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
    | JSON.map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_are_more_than_a_refusal(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        check(raw, KEYS)


@given(st.sampled_from([PROOF, CONTINUED]), st.data())
def test_a_byte_that_differs_is_found_or_says_the_same(text: str, data: st.DataObject) -> None:
    raw = bytearray(text.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _refused_or_the_same(bytes(raw))


def _refused_or_the_same(altered: bytes | str) -> None:
    try:
        found = check(altered, KEYS)
    except EvidenceError:
        return
    whole = check(CONTINUED if found.old_size else PROOF, KEYS)
    assert (found.root, found.entries) == (whole.root, whole.entries)


def test_bodies_are_bytes_of_any_kind() -> None:
    raw = bytes(range(256))
    odd = ENTRIES[0]._replace(data=raw, digest=digest_of(bytes(16), "{}", raw), salt=bytes(16), attributes="{}")
    note = sign_checkpoint(Checkpoint(LOG.name, 1, leaf_of(odd)), LOG)
    text = evidence.inclusion_document(note, [Included(0, odd, [])])
    assert check(text, KEYS).entries[0].entry.data == raw
    assert b64encode(raw).decode() in text
