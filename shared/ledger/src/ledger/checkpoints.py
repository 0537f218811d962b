"""Checkpoints (C2SP tlog-checkpoint): size and root of a log, signed by it, and by witnesses who saw that it only grew."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ledger import notes
from ledger.notes import COSIGNATURE, NOTE, Signer, Verifier, strict_base64
from ledger.tree import EMPTY, HASH_BYTES

_MOST = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL = re.compile("[\0-\x1f\ud800-\udfff]")


class CheckpointError(Exception):
    """A text is no checkpoint, or was not signed by the log it is of."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: under its name, the number of leaves and the root (32 bytes) over them.

    CheckpointError when it cannot be written down.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or _CONTROL.search(self.origin):
            raise CheckpointError("line 1: the origin is empty or has a control character")
        if not 0 <= self.size <= _MOST:
            raise CheckpointError(f"line 2: {self.size} is no size of a tree")
        if len(self.root) != HASH_BYTES or (self.size == 0 and self.root != EMPTY):
            raise CheckpointError(f"line 3: this is no root of {self.size} leaves")
        for number, line in enumerate(self.extensions, 4):
            if not line or _CONTROL.search(line):
                raise CheckpointError(f"line {number}: an extension is empty or has a control character")

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Reads the text of a note; CheckpointError names the first line that is wrong."""
        origin, size, root, *extensions = _lines(text)
        if not _SIZE.fullmatch(size):
            raise CheckpointError("line 2: the size is not a decimal number without leading zeros")
        try:
            raw = strict_base64(root)
        except ValueError:
            raise CheckpointError("line 3: the root is not in base64") from None
        return cls(origin, int(size), raw, tuple(extensions))

    @property
    def text(self) -> str:
        """The lines that are signed, each ended by a newline."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


class Opened(NamedTuple):
    """A checkpoint that its log signed: whose signatures were verified, and when each witness cosigned (Unix seconds)."""

    checkpoint: Checkpoint
    signers: list[str]
    cosigned: Mapping[str, int]


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> str:
    """The signed note; at least one signer has the origin as its name, or nobody could open it: CheckpointError."""
    if checkpoint.origin not in {signer.name for signer in signers}:
        raise CheckpointError(f"a key called {checkpoint.origin} has to sign")
    return notes.sign(checkpoint.text, *signers)


def open_checkpoint(note: str, verifiers: Iterable[Verifier]) -> Opened:
    """The checkpoint that one of these keys, called like its origin, signed.

    NoteError as for `open_note`, also for a wrong cosignature of a known witness; CheckpointError when the text is no
    checkpoint, or when only others than the log signed it.
    """
    text, signatures = notes.verified(note, verifiers)
    checkpoint = Checkpoint.parse(text)
    if not any(verifier.kind == NOTE and verifier.name == checkpoint.origin for verifier, _ in signatures):
        raise CheckpointError(f"no known key called {checkpoint.origin} signed it")
    cosigned = {signature.name: signature.seconds for _, signature in signatures if signature.seconds is not None}
    return Opened(checkpoint, list(dict.fromkeys(signature.name for _, signature in signatures)), cosigned)


def cosign(signed_note: str, signer: Signer, unix_time: int) -> str:
    """The note with a witness's line below it (C2SP tlog-cosignature v1): `signer` saw at `unix_time` that the log only grew.

    Whoever calls this has opened the note and verified its consistency before. NoteError or CheckpointError for no
    checkpoint, and for a key that is not one for cosignatures.
    """
    text, _ = notes.parse(signed_note)
    if signer.kind != COSIGNATURE:
        raise CheckpointError(f"the key of {signer.name} is not one for cosignatures")
    return f"{signed_note}{signer.line(Checkpoint.parse(text).text, unix_time)}"


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1]:
        raise CheckpointError(f"line {min(len(lines), 4)}: a checkpoint has at least three lines, each ended by a newline")
    return lines[:-1]
