"""Notes and checkpoints are those of C2SP and of Go's note package, byte by byte."""

import re
from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger import notes
from ledger.checkpoints import Checkpoint, CheckpointError, cosign, open_checkpoint, sign_checkpoint
from ledger.notes import COSIGNATURE, NOTE, NoteError, Signer, Verifier, generate, open_note, parse, sign
from ledger.tree import EMPTY

# The example of Go's note package, and the one of the specification.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of C2SP's tlog-cosignature; its keys were not published.
SOFA = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SOFA_NOTE = (
    f"{SOFA}\n— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
LOG = Signer("rapport.example/oversight", bytes(32))
WITNESS = Signer("witness.example/w1", bytes(range(32)), COSIGNATURE)
ROOT = sha256(b"root").digest()
CHECKPOINT = Checkpoint(LOG.name, 20_852_163, ROOT)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n")).map(lambda text: f"{text}\n")


def test_the_published_note_is_opened_and_written_again() -> None:
    signer, verifier = Signer.parse(PETER_PRIVATE), Verifier.parse(PETER)
    assert sign(TEXT, signer) == f"{TEXT}\n{LINE}"
    assert open_note(f"{TEXT}\n{LINE}", [verifier]) == (TEXT, ["PeterNeumann"])
    assert (signer.verifier, str(verifier), signer.private_text()) == (verifier, PETER, PETER_PRIVATE)
    assert open_note(FOO_NOTE, [Verifier.parse(FOO)]) == ("This is an example message.\n", ["example.com/foo"])


def test_a_private_key_is_never_shown() -> None:
    assert "seed" not in repr(LOG)
    with pytest.raises(NoteError) as raised:
        Signer.parse(PETER_PRIVATE[:-4])
    assert PETER_PRIVATE[40:50] not in str(raised.value)


def test_a_generated_key_is_read_back_from_its_file() -> None:
    for kind in (NOTE, COSIGNATURE):
        signer = generate("log.example/1", kind)
        assert Signer.parse(signer.private_text()) == signer
        assert Verifier.parse(str(signer.verifier)) == signer.verifier
    assert generate("a").seed != generate("a").seed


def test_no_part_of_a_key_and_no_altered_key_is_a_key() -> None:
    for text, read in ((PETER, Verifier.parse), (PETER_PRIVATE, Signer.parse)):
        parts = {text[start:stop] for start in range(len(text)) for stop in range(start, len(text) + 1)} - {text}
        altered = {text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :] for at in range(len(text))}
        for wrong in parts | altered | {f"{text}=", f" {text}", f"{text}\n", text.replace("c74f", "C74F")}:
            with pytest.raises(NoteError):
                read(wrong)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\tb", "a\x01", "\ud800"])
def test_a_name_that_would_not_fit_a_line_is_refused(name: str) -> None:
    with pytest.raises(NoteError, match="name"):
        generate(name)


@pytest.mark.parametrize(("kind", "length"), [(0, 32), (2, 32), (6, 32), (1, 31), (4, 33)])
def test_a_key_of_another_kind_or_length_is_refused(kind: int, length: int) -> None:
    with pytest.raises(NoteError, match="not one of 32 bytes"):
        Verifier("a", bytes(length), kind)


@given(TEXTS)
def test_whatever_text_is_signed_is_opened_again_and_nothing_else_is(text: str) -> None:
    note = sign(text, LOG)
    assert open_note(note, [LOG.verifier]) == (text, [LOG.name])
    with pytest.raises(NoteError):
        open_note(f"x{note}", [LOG.verifier])


@given(st.text() | st.text("— \nab+/=PeterNeumann"))
def test_no_text_makes_the_reader_of_notes_stumble(text: str) -> None:
    for each in (text, f"{text}\n\n{LINE}", f"{TEXT}\n{text}\n"):
        try:
            open_note(each, [Verifier.parse(PETER)])
        except NoteError:
            continue


def test_signatures_of_others_are_passed_over_but_a_wrong_one_of_a_known_key_is_not() -> None:
    other = generate("other.example/log")
    note = sign(TEXT, other, LOG)
    assert open_note(note, [LOG.verifier]) == (TEXT, [LOG.name])
    assert open_note(note, [LOG.verifier, other.verifier]) == (TEXT, [other.name, LOG.name])
    forged = note.replace("cryptography", "cryptographY").replace(LOG.line(TEXT), LOG.line(TEXT.replace("phy", "phY")))
    with pytest.raises(NoteError, match=r"the signature of other.example/log is wrong"):
        open_note(forged, [LOG.verifier, other.verifier])


def test_a_key_that_shares_only_name_or_id_is_another_key() -> None:
    with pytest.raises(NoteError, match="none of the known keys"):
        open_note(f"{TEXT}\n{LINE}", [generate("PeterNeumann").verifier, LOG.verifier])
    with pytest.raises(NoteError, match="none of the known keys"):
        open_note(f"{TEXT}\n{LINE}", [])


@pytest.mark.parametrize(
    "note",
    [
        "", "\n", TEXT, f"{TEXT}\n", TEXT + LINE, f"{TEXT}\n{LINE}"[:-1], f"{TEXT}\n{LINE}\n", f"{TEXT}\n{LINE}x\n",
        f"{TEXT}\n{LINE[1:]}", f"{TEXT}\n{LINE.replace('=', '')}", f"{TEXT}\n— PeterNeumann\n",
        f"{TEXT}\n— PeterNeumann x08gow==\n", f"{TEXT}\n— Peter+Neumann x08go/ZJ\n", f"{TEXT}\n— x08go/ZJ\n",
        f"a\rb\n\n{LINE}", f"a\tb\n\n{LINE}", f"\ud800\n\n{LINE}",
        f"{TEXT}\n{LINE * 65}",
    ],
)  # fmt: skip
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        parse(note)


def test_sixteen_signatures_are_not_too_many_and_one_signer_is_named_once() -> None:
    assert open_note(f"{TEXT}\n{LINE * 16}", [Verifier.parse(PETER)]) == (TEXT, ["PeterNeumann"])


@pytest.mark.parametrize("text", ["", "a", "a\rb\n", "\0\n", "\udfff\n"])
def test_a_text_that_cannot_be_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        sign(text, LOG)
    with pytest.raises(NoteError, match="has a signature"):
        sign("a\n")


def test_two_keys_with_one_name_and_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Verifier, "key_id", b"same")
    with pytest.raises(NoteError, match="two keys"):
        open_note(f"{TEXT}\n{LINE}", [Verifier("a", bytes(32)), Verifier("a", bytes(31) + b"1")])


def test_the_example_of_the_specification_is_read() -> None:
    text, (log, witness) = parse(SOFA_NOTE)
    checkpoint = Checkpoint.parse(text)
    assert text == checkpoint.text == SOFA
    assert (checkpoint.origin, checkpoint.size, checkpoint.extensions) == ("example.com/behind-the-sofa", 20_852_163, ())
    assert checkpoint.root == b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert (log.name, log.key_id, len(log.raw)) == (checkpoint.origin, bytes.fromhex("033de0ae"), 64)
    assert (witness.name, witness.key_id, len(witness.raw)) == ("witness.example.com/w1", bytes.fromhex("8d66cf3f"), 72)
    assert int.from_bytes(witness.raw[:8]) == 1_679_315_147


def test_a_cosignature_is_built_as_the_specification_says() -> None:
    note = cosign(sign_checkpoint(CHECKPOINT, LOG), WITNESS, 1_679_315_147)
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key_id = sha256(b"witness.example/w1\n\x04" + key.public_key().public_bytes_raw()).digest()[:4]
    signed = key.sign(b"cosignature/v1\ntime 1679315147\n" + CHECKPOINT.text.encode())
    encoded = b64encode(key_id + (1_679_315_147).to_bytes(8) + signed).decode()
    assert note == sign_checkpoint(CHECKPOINT, LOG) + f"— witness.example/w1 {encoded}\n"
    opened = open_checkpoint(note, [LOG.verifier, WITNESS.verifier])
    assert opened == (CHECKPOINT, [LOG.name, WITNESS.name], {WITNESS.name: 1_679_315_147})
    assert open_checkpoint(note, [LOG.verifier]) == (CHECKPOINT, [LOG.name], {})


def test_a_cosignature_with_another_time_is_wrong() -> None:
    note = cosign(sign_checkpoint(CHECKPOINT, LOG), WITNESS, 1_679_315_147)
    line = note.splitlines()[-1].rpartition(" ")[2]
    raw = bytearray(b64decode(line))
    for at in (4, 11, 12, 75):
        changed = bytes(raw[:at] + bytes([raw[at] ^ 128]) + raw[at + 1 :])
        with pytest.raises(NoteError, match=r"is wrong|is no time"):
            open_checkpoint(note.replace(line, b64encode(changed).decode()), [LOG.verifier, WITNESS.verifier])
    with pytest.raises(NoteError, match="is wrong"):
        open_checkpoint(note.replace(line, b64encode(raw[:9]).decode()), [LOG.verifier, WITNESS.verifier])


def test_a_witness_alone_is_not_the_log() -> None:
    note = cosign(sign_checkpoint(CHECKPOINT, LOG), WITNESS, 1)
    namesake = Signer(LOG.name, bytes(32), COSIGNATURE)
    for verifiers, text in (([WITNESS.verifier], note), ([namesake.verifier], cosign(note, namesake, 1))):
        with pytest.raises(CheckpointError, match="no known key called"):
            open_checkpoint(text, verifiers)
    with pytest.raises(CheckpointError, match="has to sign"):
        sign_checkpoint(CHECKPOINT, generate("another"))
    with pytest.raises(CheckpointError, match="no known key called"):
        open_checkpoint(sign(CHECKPOINT.text, generate("x"), another := generate("another")), [another.verifier])


@pytest.mark.parametrize("time", [-1, 2**63])
def test_there_are_times_that_nobody_cosigns_at(time: int) -> None:
    with pytest.raises(NoteError, match="no time"):
        cosign(sign_checkpoint(CHECKPOINT, LOG), WITNESS, time)


def test_a_log_does_not_cosign_and_a_witness_does_not_sign() -> None:
    with pytest.raises(CheckpointError, match="not one for cosignatures"):
        cosign(sign_checkpoint(CHECKPOINT, LOG), LOG, 1)
    with pytest.raises(NoteError, match="has a time"):
        sign(TEXT, WITNESS)
    with pytest.raises(NoteError, match="has no time"):
        LOG.line(TEXT, 1)
    with pytest.raises(CheckpointError):
        cosign(sign(TEXT, LOG), WITNESS, 1)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), max_size=3),
)  # fmt: skip
def test_every_checkpoint_is_read_as_it_was_written(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.text) == checkpoint


_B64 = b64encode(ROOT).decode()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1), ("a\n", 2), (f"a\n1\n{_B64}", 3), (f"\n1\n{_B64}\n", 1), (f"a\x01\n1\n{_B64}\n", 1), (f"a\n01\n{_B64}\n", 2),
        (f"a\n-1\n{_B64}\n", 2), (f"a\n+1\n{_B64}\n", 2), (f"a\n\n{_B64}\n", 2), (f"a\n1 \n{_B64}\n", 2),
        (f"a\n٣\n{_B64}\n", 2),
        (f"a\n1_0\n{_B64}\n", 2), (f"a\n{2**63}\n{_B64}\n", 2), (f"a\n{10**30}\n{_B64}\n", 2), ("a\n1\n\n", 3),
        ("a\n1\nAAAA\n", 3),
        (f"a\n1\n{_B64} \n", 3), (f"a\n1\n{_B64[:-2]}b=\n", 3), (f"a\n1\n{_B64[:-1]}\n", 3),
        (f"a\n1\n{_B64.replace('=', '')}é\n", 3),
        (f"a\n0\n{_B64}\n", 3), (f"a\n1\n{_B64}\n\n", 4), (f"a\n1\n{_B64}\nx\n\n", 5), (f"a\n1\n{_B64}\nx\ty\n", 4),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_written_otherwise_is_refused_by_its_line(text: str, line: int) -> None:
    with pytest.raises(CheckpointError, match=f"line {line}"):
        Checkpoint.parse(text)


def test_the_empty_log_has_a_checkpoint() -> None:
    note = sign_checkpoint(Checkpoint(LOG.name, 0, EMPTY), LOG)
    assert open_checkpoint(note, [LOG.verifier]).checkpoint == Checkpoint(LOG.name, 0, EMPTY)
    assert re.match(rf"{LOG.name}\n0\n47DEQpj8HBSa\+/TImW\+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— ", note)
    assert notes.parse(note)[0] == Checkpoint(LOG.name, 0, EMPTY).text
