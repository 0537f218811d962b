"""Signed notes (C2SP signed-note): a text, an empty line, and a line per Ed25519 signature; keys as Go's note package has them.

A name and a key id of four bytes say whose signature a line is; the id also covers the kind of signature, of which there are
two: of the note as it stands, and of a witness, with the time (C2SP tlog-cosignature, v1).
"""

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NOTE, COSIGNATURE = 0x01, 0x04
MOST_SIGNATURES = 64

_KEY_BYTES, _ID_BYTES, _TIME_BYTES, _LATEST = 32, 4, 8, 2**63 - 1
_PRIVATE, _DASH = "PRIVATE+KEY+", "— "
_FORBIDDEN = re.compile("[\0-\x09\x0b-\x1f\ud800-\udfff]")


class NoteError(Exception):
    """A note, a signature or a key is not what it should be."""


class Signature(NamedTuple):
    """A line below a note: 4 bytes of key id, and the signature; `seconds` (Unix) is known of a verified witness."""

    name: str
    key_id: bytes
    raw: bytes
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key (32 bytes) under its name, and the kind of signatures it makes; NoteError when one of these cannot be."""

    name: str
    public: bytes
    kind: int = NOTE

    def __post_init__(self) -> None:
        _check_key(self.name, self.kind, self.public)

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Reads `<name>+<key id in hex>+<base64(kind || public key)>`; NoteError for anything else."""
        name, key_id, kind, public = _parse_key(vkey)
        verifier = cls(name, public, kind)
        if verifier.key_id.hex() != key_id:
            raise NoteError(f"the key of {name} has the id {verifier.key_id.hex()}, not {key_id}")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || newline || kind || public key)."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.kind]) + self.public)}"

    def verified(self, text: str, signature: Signature) -> Signature:
        """The signature of this text, with its time if it has one; NoteError when this key did not make it."""
        seconds, raw = _taken_apart(self.kind, signature.raw)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(raw, _message(text, seconds))
        except (InvalidSignature, ValueError):
            raise NoteError(f"the signature of {self.name} is wrong") from None
        return signature._replace(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key: an Ed25519 seed of 32 bytes, which is never shown; NoteError when name, kind or seed cannot be."""

    name: str
    seed: bytes = field(repr=False)
    kind: int = NOTE

    def __post_init__(self) -> None:
        _check_key(self.name, self.kind, self.seed)

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Reads `PRIVATE+KEY+<name>+<key id in hex>+<base64(kind || seed)>`; NoteError for all else, quoting nothing."""
        if not text.startswith(_PRIVATE):
            raise NoteError(f"a private key begins with {_PRIVATE}")
        name, key_id, kind, seed = _parse_key(text.removeprefix(_PRIVATE))
        signer = cls(name, seed, kind)
        if signer.verifier.key_id.hex() != key_id:
            raise NoteError(f"the private key of {name} has the id {signer.verifier.key_id.hex()}, not {key_id}")
        return signer

    @property
    def verifier(self) -> Verifier:
        """What others need to verify this signer's notes."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return Verifier(self.name, public, self.kind)

    def private_text(self) -> str:
        """The whole secret, for a file that nobody else can read."""
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{_base64(bytes([self.kind]) + self.seed)}"

    def line(self, text: str, unix_time: int | None = None) -> str:
        """The signature's line below a note; a witness says when, in seconds, and nobody else does: else NoteError."""
        if (unix_time is None) != (self.kind == NOTE):
            raise NoteError(f"a signature of {self.name} has {'no' if self.kind == NOTE else 'a'} time")
        if unix_time is not None and not 0 <= unix_time <= _LATEST:
            raise NoteError(f"{unix_time} is no time")
        raw = Ed25519PrivateKey.from_private_bytes(self.seed).sign(_message(text, unix_time))
        stamp = b"" if unix_time is None else unix_time.to_bytes(_TIME_BYTES)
        return f"{_DASH}{self.name} {_base64(self.verifier.key_id + stamp + raw)}\n"


def generate(name: str, kind: int = NOTE) -> Signer:
    """A new key from the system's randomness."""
    return Signer(name, secrets.token_bytes(_KEY_BYTES), kind)


def sign(text: str, *signers: Signer) -> str:
    """The note of a text that ends with a newline, signed by at least one; NoteError when it cannot be one."""
    _check_text(text)
    if not signers:
        raise NoteError("a note has a signature")
    return f"{text}\n{''.join(signer.line(text) for signer in signers)}"


def open_note(note: str, verifiers: Iterable[Verifier]) -> tuple[str, list[str]]:
    """The text, and the names of those whose signatures are right, in the note's order.

    Signatures of other keys are passed over. NoteError when the note is malformed, when a signature of one of these keys is
    wrong, or when none of them signed.
    """
    text, signatures = verified(note, verifiers)
    return text, list(dict.fromkeys(signature.name for _, signature in signatures))


def verified(note: str, verifiers: Iterable[Verifier]) -> tuple[str, list[tuple[Verifier, Signature]]]:
    """As `open_note`, with the keys and the signatures themselves."""
    known = _by_key(verifiers)
    text, signatures = parse(note)
    mine = [(known[each.name, each.key_id], each) for each in signatures if (each.name, each.key_id) in known]
    if not mine:
        raise NoteError("none of the known keys signed this note")
    return text, [(verifier, verifier.verified(text, each)) for verifier, each in mine]


def parse(note: str) -> tuple[str, list[Signature]]:
    """The text and its signatures, none of them verified; NoteError when the note is malformed."""
    _check_text(note)
    text, empty, below = note.rpartition("\n\n")
    lines = below.split("\n")[:-1]
    if not empty or not lines:
        raise NoteError("there is no signature below an empty line")
    if len(lines) > MOST_SIGNATURES:
        raise NoteError(f"there are more than {MOST_SIGNATURES} signatures")
    return f"{text}\n", [_parse_line(line) for line in lines]


def signed_by(note: str, verifiers: Iterable[Verifier]) -> str:
    """The note with the lines of these keys alone; whether they are right is for `verified` to say."""
    known = _by_key(verifiers)
    text, signatures = parse(note)
    lines = note.rpartition("\n\n")[2].splitlines(keepends=True)
    kept = [line for line, each in zip(lines, signatures, strict=True) if (each.name, each.key_id) in known]
    return f"{text}\n{''.join(kept)}"


def strict_base64(text: str) -> bytes:
    """The bytes behind the one standard base64 form they have (RFC 4648 section 4); ValueError for another."""
    raw = b64decode(text, validate=True)
    if _base64(raw) != text:
        raise ValueError("not the canonical base64 form")
    return raw


def _by_key(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    known: dict[tuple[str, bytes], Verifier] = {}
    for each in verifiers:
        if known.setdefault((each.name, each.key_id), each) != each:
            raise NoteError(f"two keys are called {each.name}+{each.key_id.hex()}")
    return known


def _parse_line(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        raw = strict_base64(encoded)
    except ValueError:
        raw = b""
    if not line.startswith(_DASH) or not _is_name(name) or len(raw) <= _ID_BYTES:
        raise NoteError("a line below the empty line is no signature")
    return Signature(name, raw[:_ID_BYTES], raw[_ID_BYTES:])


def _parse_key(text: str) -> tuple[str, str, int, bytes]:
    parts = text.split("+", 2)
    try:
        name, key_id, encoded = parts
        kind, *key = strict_base64(encoded)
    except ValueError:
        raise NoteError("a key is a name, an id and base64, joined by +") from None
    return name, key_id, kind, bytes(key)


def _taken_apart(kind: int, raw: bytes) -> tuple[int | None, bytes]:
    if kind == NOTE:
        return None, raw
    seconds = int.from_bytes(raw[:_TIME_BYTES])
    if seconds > _LATEST:
        raise NoteError(f"{seconds} is no time")
    return seconds, raw[_TIME_BYTES:]


def _message(text: str, seconds: int | None) -> bytes:
    return (text if seconds is None else f"cosignature/v1\ntime {seconds}\n{text}").encode()


def _check_key(name: str, kind: int, key: bytes) -> None:
    if not _is_name(name):
        raise NoteError("a key's name is not empty and has no space, no + and no control character")
    if kind not in (NOTE, COSIGNATURE) or len(key) != _KEY_BYTES:
        raise NoteError(f"the key of {name} is not one of {_KEY_BYTES} bytes for notes or cosignatures")


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(map(str.isspace, name)) and not _FORBIDDEN.search(name)


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteError("the text does not end with a newline")
    if _FORBIDDEN.search(text):
        raise NoteError("the text has a control character or half a surrogate pair")


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()
