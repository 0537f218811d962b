"""Keys as a person gives them: written out, or as files; and new ones."""

import os
from pathlib import Path

from ledger.notes import COSIGNATURE, NOTE, NoteError, Signer, Verifier, generate

_PRIVATE = "PRIVATE+KEY+"


class KeyFileError(Exception):
    """No key is there; the message says where was looked, and never what stood there."""


def verifiers_of(words: list[str]) -> list[Verifier]:
    """The public keys that these words are, or that lie in the files they name, one per line; KeyFileError for others."""
    found: list[Verifier] = []
    for word in words:
        found += [Verifier.parse(word)] if _is_key(word) else _verifiers_in(Path(word))
    return list(dict.fromkeys(found))


def signer_in(path: Path) -> Signer:
    """The one private key of a file; KeyFileError when there is none."""
    lines = _lines(path)
    try:
        (line,) = lines
        return Signer.parse(line)
    except (NoteError, ValueError) as error:
        why = error if isinstance(error, NoteError) else f"it has {len(lines)} lines"
        raise KeyFileError(f"{path} is no file with a private key: {why}") from None


def keep_new(name: str, path: Path, *, witness: bool) -> Verifier:
    """Makes a key and writes it where only its owner can read it; FileExistsError when there is something already."""
    signer = generate(name, COSIGNATURE if witness else NOTE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{signer.private_text()}\n")
    return signer.verifier


def _is_key(word: str) -> bool:
    try:
        Verifier.parse(word)
    except NoteError:
        return False
    return True


def _verifiers_in(path: Path) -> list[Verifier]:
    lines = _lines(path)
    if any(line.startswith(_PRIVATE) for line in lines):
        raise KeyFileError(f"{path} holds a private key: give the public one, and keep this where it is")
    try:
        found = [Verifier.parse(line) for line in lines]
    except NoteError as error:
        raise KeyFileError(f"{path} is no file with public keys: {error}") from None
    if not found:
        raise KeyFileError(f"{path} is empty")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise KeyFileError(f"{path} is neither a key nor a file with keys: {why}") from None
