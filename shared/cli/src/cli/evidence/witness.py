"""Countersigns checkpoints of one log as long as each continues the last; trusts nobody, and least of all the log.

Invariants: the checkpoint it keeps never becomes smaller; it cosigns nothing without a proof, but the first; after two signed
checkpoints that cannot both be of one log it cosigns nothing more until a person has taken the alarm away.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cli.evidence.sources import NotThere, Proofs
from ledger.checkpoints import Checkpoint, CheckpointError, cosign, open_checkpoint
from ledger.notes import NoteError, Signer, Verifier, signed_by
from ledger.proofs import ProofError, verify_consistency
from ledger.tree import EMPTY


class Alarm(Exception):
    """The log signed two checkpoints that cannot both be true; `folder` keeps both."""

    def __init__(self, reason: str, folder: Path) -> None:
        super().__init__(f"{reason}; both checkpoints are kept in {folder}")
        self.folder = folder


class StateError(Exception):
    """The witness cannot use its own folder."""


@dataclass(frozen=True, slots=True)
class Witness:
    """`log`: keys of one log; `state`: its own folder, which nobody else writes; `clock`: Unix seconds."""

    log: Sequence[Verifier]
    signer: Signer
    proofs: Proofs
    state: Path
    clock: Callable[[], float]
    proven: set[tuple[int, bytes]] = field(default_factory=set)

    @property
    def kept(self) -> Checkpoint | None:
        """The last that was cosigned; StateError when the file is not what this witness wrote."""
        note = self._kept_note()
        if note is None:
            return None
        try:
            opened = open_checkpoint(note, [*self.log, self.signer.verifier])
        except (NoteError, CheckpointError) as error:
            raise StateError(f"{self._file} is not as it was written: {error}") from None
        if self.signer.name not in opened.cosigned:
            raise StateError(f"{self._file} was not cosigned by {self.signer.name}")
        return opened.checkpoint

    @contextmanager
    def on_duty(self) -> Iterator[None]:
        """Alone in the folder, else StateError; and without an alarm that nobody has looked at, else Alarm."""
        try:
            self.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{self.state} cannot be written: {error.strerror}") from None
        with (self.state / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(f"another witness works in {self.state}") from None
            if alarms := sorted(self.state.glob("alarm-*")):
                raise Alarm("an alarm was raised before, and nobody has moved it away", alarms[0])
            yield

    def look(self, note: str) -> Checkpoint | None:
        """The checkpoint, when it was new and is cosigned now; None when there was nothing to do.

        NoteError or CheckpointError for what the log did not sign, NotThere when nobody proves that it continues the last one,
        Alarm when it cannot.
        """
        seen, kept = open_checkpoint(note, self.log).checkpoint, self.kept
        if kept and seen.size == kept.size and seen.root != kept.root:
            raise self._alarm(note, seen, f"the log has two roots over {seen.size:,} entries")
        if kept and seen.size <= kept.size:
            self._belongs_to(note, seen, kept)
            return None
        self._continues(note, seen, kept or Checkpoint(seen.origin, 0, EMPTY), seen)
        # Lines of others were not looked at: what they say must not stand beside ours.
        _write(self._file, cosign(signed_by(note, self.log), self.signer, int(self.clock())))
        self.proven.add((seen.size, seen.root))
        return seen

    def _belongs_to(self, note: str, seen: Checkpoint, kept: Checkpoint) -> None:
        """A smaller one is of the same history, if anybody can tell; once for each."""
        if seen.size in (0, kept.size) or (seen.size, seen.root) in self.proven:
            return
        with suppress(NotThere):
            self._continues(note, kept, seen, seen)
            self.proven.add((seen.size, seen.root))

    def _continues(self, note: str, new: Checkpoint, old: Checkpoint, seen: Checkpoint) -> None:
        path = self.proofs.path(old.size, new.size) if old.size else []
        try:
            verify_consistency(old.size, new.size, old.root, new.root, path)
        except ProofError as error:
            why = f"the log of {new.size:,} entries does not continue that of {old.size:,}: {error}"
            raise self._alarm(note, seen, why) from None

    @property
    def _file(self) -> Path:
        return self.state / "checkpoint"

    def _kept_note(self) -> str | None:
        try:
            return self._file.read_bytes().decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"{self._file} cannot be read: {error}") from None

    def _alarm(self, theirs: str, seen: Checkpoint, reason: str) -> Alarm:
        folder = self.state / f"alarm-{seen.size}-{seen.root.hex()[:16]}"
        folder.mkdir(exist_ok=True)
        _write(folder / "kept", self._kept_note() or "")
        _write(folder / "seen", theirs)
        _write(folder / "reason", f"{reason}\n")
        return Alarm(reason, folder)


def _write(path: Path, text: str) -> None:
    """The old or the new file is there, also after a crash."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
