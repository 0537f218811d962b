"""A witness countersigns a log that only grows, and raises an alarm over one that shows two faces; it believes no one."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from cli.evidence.sources import Folder, NotThere
from cli.evidence.witness import Alarm, StateError, Witness
from ledger.checkpoints import Checkpoint, CheckpointError, open_checkpoint, sign_checkpoint
from ledger.notes import COSIGNATURE, NoteError, Signer, generate
from ledger.proofs import verify_consistency
from ledger.tiles import grown, tile_path
from ledger.tree import above, leaf_hash, root_of

LOG, OWN, STRANGER = generate("log.example/ledger"), generate("witness.example", COSIGNATURE), generate("stranger.example")
NOW = 1_790_000_000
_DASH = "\N{EM DASH} "


def leaves(size: int, forked_at: int | None = None) -> list[bytes]:
    """So many leaf hashes; from `forked_at` on those of another history."""
    return [leaf_hash(b"%d%s" % (n, b"'" if forked_at is not None and n >= forked_at else b"")) for n in range(size)]


def note(of: Sequence[bytes], signer: Signer = LOG) -> str:
    return sign_checkpoint(Checkpoint(signer.name, len(of), root_of(of)), signer)


def lay_out(folder: Path, of: Sequence[bytes], *, whole: bool = True) -> Path:
    """The folder as oversight writes it; without its hashes when not `whole`."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = {0: list(of)}
    for level in range(8, 40, 8):
        row = levels[level - 8]
        while row and len(row) >= 256 and len(levels.get(level, [])) == 0:
            complete = row[: len(row) // 256 * 256]
            for _ in range(8):
                complete = above(complete)
            levels[level] = complete
        if not levels.get(level):
            break
    for span in grown(0, len(of)) if whole else ():
        path = folder / tile_path(span)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(levels[span.level][span.start : span.stop]))
    (folder / "checkpoint").write_text(note(of))
    return folder


@pytest.fixture
def witness(tmp_path: Path) -> Callable[[Sequence[bytes]], Witness]:
    """One with a state of its own, whose proofs come from tiles over these leaves."""

    def witness(of: Sequence[bytes]) -> Witness:
        folder = lay_out(tmp_path / f"outside-{root_of(of).hex()[:8]}-{len(of)}", of)
        (tmp_path / "state").mkdir(exist_ok=True)
        return Witness([LOG.verifier], OWN, Folder(folder), tmp_path / "state", lambda: float(NOW))

    return witness


def kept(state: Path) -> Checkpoint:
    opened = open_checkpoint((state / "checkpoint").read_text(), [LOG.verifier, OWN.verifier])
    assert opened.cosigned.keys() == {OWN.name}
    return opened.checkpoint


@pytest.mark.parametrize(("old", "new"), [(1, 2), (5, 300), (255, 256), (256, 257), (300, 70_000), (65_536, 70_000)])
def test_each_checkpoint_that_continues_the_last_is_cosigned(
    witness: Callable[[Sequence[bytes]], Witness], old: int, new: int
) -> None:
    of = leaves(new)
    one = witness(of)
    assert one.look(note(of[:old])) == Checkpoint(LOG.name, old, root_of(of[:old]))
    assert one.look(note(of)) == kept(one.state) == Checkpoint(LOG.name, new, root_of(of))
    assert one.look(note(of)) is None


def test_a_smaller_one_is_passed_over_and_what_is_kept_never_goes_back(witness: Callable[[Sequence[bytes]], Witness]) -> None:
    of = leaves(20)
    one = witness(of)
    one.look(note(of))
    assert one.look(note(of[:7])) is None
    assert kept(one.state).size == 20


@pytest.mark.parametrize("lines", [1, 63])
def test_lines_of_keys_that_were_not_looked_at_are_not_kept_beside_our_own(
    witness: Callable[[Sequence[bytes]], Witness], lines: int
) -> None:
    of = leaves(20)
    one = witness(of)
    forged = base64.b64encode(OWN.verifier.key_id + bytes(72)).decode()
    one.look(f"{note(of[:7])}{''.join(f'{_DASH}{OWN.name} {forged}{chr(10)}' for _ in range(lines))}")
    assert kept(one.state).size == 7
    assert one.look(note(of)) == kept(one.state)


def test_a_shorter_history_that_is_another_is_an_alarm_too(witness: Callable[[Sequence[bytes]], Witness]) -> None:
    of = leaves(20)
    one = witness(of)
    one.look(note(of))
    with pytest.raises(Alarm):
        one.look(note(leaves(15, forked_at=11)))


@pytest.mark.parametrize("size", [20, 21, 600], ids=["two roots over one size", "one more", "many more"])
def test_a_fork_is_an_alarm_and_both_checkpoints_are_kept(witness: Callable[[Sequence[bytes]], Witness], size: int) -> None:
    of, other = leaves(20), leaves(size, forked_at=11)
    one = witness(other)
    one.look(note(of))
    before = (one.state / "checkpoint").read_text()
    with pytest.raises(Alarm) as alarm:
        one.look(note(other))
    assert (alarm.value.folder / "kept").read_text() == before
    assert (alarm.value.folder / "seen").read_text() == note(other)
    assert (one.state / "checkpoint").read_text() == before
    with pytest.raises(Alarm), one.on_duty():
        pass


def test_hashes_outside_that_were_changed_are_an_alarm(witness: Callable[[Sequence[bytes]], Witness], tmp_path: Path) -> None:
    of = leaves(20)
    one = witness(leaves(20, forked_at=3))
    one.look(note(of[:10]))
    with pytest.raises(Alarm):
        one.look(note(of))


def test_without_a_proof_nothing_is_cosigned_and_nothing_is_wrong(tmp_path: Path) -> None:
    of = leaves(300)
    one = Witness([LOG.verifier], OWN, Folder(lay_out(tmp_path / "o", of, whole=False)), tmp_path, lambda: NOW)
    one.look(note(of[:10]))
    with pytest.raises(NotThere):
        one.look(note(of))
    assert kept(tmp_path).size == 10
    assert list(tmp_path.glob("alarm-*")) == []


def test_what_the_log_did_not_sign_is_not_cosigned(witness: Callable[[Sequence[bytes]], Witness]) -> None:
    of = leaves(5)
    one = witness(of)
    for text in (note(of, STRANGER), note(of).replace("\n5\n", "\n6\n"), "", "words"):
        with pytest.raises((NoteError, CheckpointError)):
            one.look(text)
    assert one.kept is None


@pytest.mark.parametrize("text", ["", "words", note(leaves(5))], ids=["empty", "words", "not cosigned by it"])
def test_a_state_that_it_did_not_write_is_not_built_on(witness: Callable[[Sequence[bytes]], Witness], text: str) -> None:
    one = witness(leaves(9))
    (one.state / "checkpoint").write_text(text)
    with pytest.raises(StateError):
        one.look(note(leaves(9)))


def test_two_witnesses_do_not_share_a_state(witness: Callable[[Sequence[bytes]], Witness]) -> None:
    one = witness(leaves(9))
    with one.on_duty(), pytest.raises(StateError), one.on_duty():
        pass


def test_tiles_prove_every_step_from_the_widest_part_that_is_there(tmp_path: Path) -> None:
    of = leaves(700)
    folder = Folder(lay_out(tmp_path, of))
    for old in (1, 255, 256, 257, 512, 699):
        for new in (old + 1, 698, 700):
            if old < new:
                verify_consistency(old, new, root_of(of[:old]), root_of(of[:new]), folder.path(old, new))


def run(tmp_path: Path, *words: str, key: Signer = OWN) -> Result:
    (tmp_path / "key").write_text(f"{key.private_text()}\n")
    base = ["ledger", "witness", "--log-key", str(LOG.verifier), "--key", str(tmp_path / "key"), "--once"]
    return CliRunner().invoke(app, [*base, *words], env={"COLUMNS": "300"})


def test_the_command_cosigns_what_lies_in_the_folder_and_exits_1_at_a_fork(tmp_path: Path) -> None:
    outside, state = tmp_path / "outside", ("--state", str(tmp_path / "state"))
    lay_out(outside, leaves(300))
    first = run(tmp_path, "--from", str(outside), *state)
    assert (first.exit_code, "cosigned 300 entries" in first.output) == (0, True), first.output
    lay_out(outside, leaves(310))
    assert run(tmp_path, "--from", str(outside), *state).exit_code == 0
    assert kept(tmp_path / "state").size == 310
    lay_out(outside, leaves(320, forked_at=305))
    forked = run(tmp_path, "--from", str(outside), *state)
    assert (forked.exit_code, "ALARM: the log of 320 entries does not continue that of 310" in forked.output) == (1, True)
    assert run(tmp_path, "--from", str(outside), *state).exit_code == 1
    assert kept(tmp_path / "state").size == 310


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "127.0.0.1:9"], "Kafka has no proofs"), (["--from", "nowhere/at-all"], "nothing new"),
        (["--from", "http://127.0.0.1:9"], "does not answer"),
    ],
    ids=["a broker alone", "no folder", "no service"],
)  # fmt: skip
def test_what_it_cannot_look_at_exits_2(tmp_path: Path, words: list[str], said: str) -> None:
    result = run(tmp_path, *words, "--state", str(tmp_path / "state"))
    assert (result.exit_code, said in result.output) == (2, True), result.output


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, "--from", str(tmp_path), "--state", str(tmp_path / "s"), key=STRANGER)
    assert (result.exit_code, "keygen --witness" in result.output) == (2, True)
