"""`rapport ledger check` and `keygen`: what a person sees who holds a file and a public key, and the exit code of each case."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.ledger import entry
from typer import Exit
from typer.testing import CliRunner, Result

from cli.app import app
from cli.commands.where import with_postgres
from cli.stack import Stack
from cli.stack.errors import StackError
from ledger import proofs
from ledger.checkpoints import Checkpoint, cosign, sign_checkpoint
from ledger.entry import leaf_of
from ledger.evidence import Included, consistency_document, inclusion_document
from ledger.notes import COSIGNATURE, Signer, Verifier, generate
from ledger.tree import root_of

LOG, WITNESS, STRANGER = (
    generate("clinic.example/ledger"),
    generate("witness.example", COSIGNATURE),
    generate("stranger.example"),
)
ENTRIES = [entry(number) for number in range(11)]
LEAVES = [leaf_of(each) for each in ENTRIES]
STORED = {(0, index): leaf for index, leaf in enumerate(LEAVES)}


def note(size: int) -> str:
    return cosign(sign_checkpoint(Checkpoint(LOG.name, size, root_of(LEAVES[:size])), LOG), WITNESS, 1_790_000_000)


def proof(*indexes: int) -> str:
    return inclusion_document(note(11), [Included(n, ENTRIES[n], proofs.inclusion_proof(n, 11, STORED)) for n in indexes])


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Checks a text with keys in a file, or written out."""

    def run(text: str | bytes, *options: str, keys: tuple[Verifier, ...] = (LOG.verifier, WITNESS.verifier)) -> Result:
        (tmp_path / "proof.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "keys").write_text("".join(f"{key}\n" for key in keys))
        return CliRunner().invoke(
            app, ["ledger", "check", str(tmp_path / "proof.json"), "--key", str(tmp_path / "keys"), *options]
        )

    return run


def test_entries_are_proven_with_what_they_are_and_on_whose_word(run: Callable[..., Result]) -> None:
    result = run(proof(1, 2))
    assert (result.exit_code, result.output.splitlines()) == (
        0,
        [
            "proven: 2 entries of the ledger clinic.example/ledger",
            "  size 11",
            f"  root {root_of(LEAVES).hex()}",
            "  signed by clinic.example/ledger",
            "  signed by witness.example, cosigned 2026-09-21T14:13:20+00:00: until then it only grew",
            "entry 1: t about e-0, recorded 2026-11-23T09:00:00.001000Z",
            "entry 2: t, recorded 2026-11-23T09:00:00.002000Z",
        ],
    )


def test_bodies_are_printed_when_asked_for(run: Callable[..., Result]) -> None:
    lines = run(proof(1, 2), "--body").output.splitlines()
    assert lines[6:9] == [
        "  /rapport/matching 1, at intake.events.v1/1/1", '  attributes {"id":"1"}', '  data {"number":1}',
    ]  # fmt: skip
    assert lines[-1] == f"  no body: its digest is {ENTRIES[2].digest.hex()}"


def test_a_continued_log_and_a_checkpoint_alone_are_checked_too(run: Callable[..., Result]) -> None:
    continued = run(consistency_document(note(4), note(11), proofs.consistency_proof(4, 11, STORED)))
    assert (continued.exit_code, continued.output.splitlines()[0]) == (
        0, "proven: the ledger clinic.example/ledger of 11 entries continues that of 4",
    )  # fmt: skip
    alone = run(note(11))
    assert (alone.exit_code, alone.output.splitlines()[0]) == (0, "signed: a checkpoint of the ledger clinic.example/ledger")


def test_without_the_witness_s_key_its_line_is_passed_over(run: Callable[..., Result]) -> None:
    assert "witness" not in run(proof(1), keys=(LOG.verifier,)).output


def changed(text: str, change: Callable[[Any], None]) -> str:
    whole = json.loads(text)
    change(whole)
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(proof(1, 3), lambda d: d["entries"][1]["entry"].update(type="other")), "entry 2 of the document"),
        (changed(proof(1, 3), lambda d: d["entries"][1].update(data="eA==")), "entry 2 of the document"),
        (changed(proof(1, 3), lambda d: d["entries"][0].update(index=2)), "entry 1 of the document"),
        (proof(1).replace("clinic.example/ledger\\n11", "clinic.example/ledger\\n12"), "checkpoint: the signature of"),
        (note(11).replace("\n11\n", "\n12\n"), "the signature of clinic.example/ledger is wrong"),
        (note(11).replace("\n", "\r\n"), "control character"),
        ("{}", "the format is neither"), ("", "newline"), ("[" * 100_000, "not JSON"),
    ],
    ids=["an attribute", "a body", "an index", "a size", "a checkpoint", "ends of lines", "nothing in it", "empty", "nested"],
)  # fmt: skip
def test_what_is_not_proven_is_named_and_exits_1(run: Callable[..., Result], text: str, said: str) -> None:
    result = run(text)
    assert (result.exit_code, said in result.output) == (1, True), result.output


def test_a_proof_on_a_stranger_s_word_is_none(run: Callable[..., Result]) -> None:
    result = run(proof(1), keys=(STRANGER.verifier, WITNESS.verifier))
    assert (result.exit_code, "NOT PROVEN" in result.output) == (1, True)


def test_what_stands_in_a_proof_cannot_steer_the_terminal(run: Callable[..., Result]) -> None:
    nasty = ENTRIES[1]._replace(type="t\x1b[2Jgood\n", subject="[red]x\x9b", salt=None, attributes=None, data=None)
    signed = sign_checkpoint(Checkpoint(LOG.name, 1, leaf_of(nasty)), LOG)
    output = run(inclusion_document(signed, [Included(0, nasty, [])])).output
    assert "entry 0: t\\x1b[2Jgood\\n about [red]x\\x9b, recorded" in output


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("nowhere/key", "neither a key nor a file"), (LOG.private_text(), "holds a private key"), ("", "is empty"),
        ("clinic.example+00000000+AAAA", "no file with public keys"), (b"\xff\xfe", "is no text"),
    ],
    ids=["no file", "a private key", "empty", "a wrong key", "no text"],
)  # fmt: skip
def test_a_key_that_cannot_be_read_exits_2_and_says_why(tmp_path: Path, keys: str | bytes, said: str) -> None:
    (tmp_path / "proof").write_text(proof(1))
    place = tmp_path / "keys" if keys != "nowhere/key" else tmp_path / "nowhere"
    if place.name == "keys":
        place.write_bytes(keys if isinstance(keys, bytes) else keys.encode())
    result = CliRunner().invoke(app, ["ledger", "check", str(tmp_path / "proof"), "--key", str(place)], env={"COLUMNS": "400"})
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert LOG.private_text() not in result.output


def test_a_proof_that_cannot_be_read_exits_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ledger", "check", str(tmp_path / "none"), "--key", str(LOG.verifier)])
    assert result.exit_code == 2


@pytest.mark.parametrize("witness", [False, True])
def test_a_new_key_is_for_its_owner_alone_and_never_overwrites(tmp_path: Path, witness: bool) -> None:
    path = tmp_path / "new" / "signing.key"
    words = ["ledger", "keygen", "clinic.example/ledger", "--out", str(path), *["--witness"] * witness]
    made = CliRunner().invoke(app, words)
    signer = Signer.parse(path.read_text().strip())
    assert (made.exit_code, made.stdout) == (0, f"{signer.verifier}\n")
    assert (signer.name, signer.kind == COSIGNATURE, path.stat().st_mode & 0o777) == ("clinic.example/ledger", witness, 0o600)
    again = CliRunner().invoke(app, words)
    assert (again.exit_code, Signer.parse(path.read_text().strip())) == (2, signer)


def test_a_name_that_no_key_can_have_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ledger", "keygen", "two words", "--out", str(tmp_path / "k")])
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_only_what_a_demo_left_may_be_spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["ledger", "tamper", "--kind", "flip", "--home", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert (isinstance(result.exception, StackError), "is not a demo's" in str(result.exception)) == (True, True)
    Stack(tmp_path).mark_as_demo()
    assert Stack(tmp_path).is_demo
    monkeypatch.setenv("RAPPORT_POSTGRES_DSN", "postgresql://elsewhere/x")
    assert isinstance(CliRunner().invoke(app, words).exception, StackError)


def test_without_its_database_nothing_is_looked_at_and_it_says_how_to_start_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit) as ended:
        with_postgres(Stack(tmp_path))
    assert (ended.value.exit_code, f"rapport up --infra --home {tmp_path}" in capsys.readouterr().err) == (2, True)
