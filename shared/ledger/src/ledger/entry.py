"""One entry of the ledger: its canonical bytes are in the tree, what may be erased later is there through a digest alone."""

from datetime import UTC, datetime
from hashlib import sha256
from json.encoder import encode_basestring as _quoted
from typing import NamedTuple

from ledger.tree import HASH_BYTES, leaf_hash

SALT_BYTES = 16
_MOST = 2**53 - 1


class LedgerEntry(NamedTuple):
    """What was recorded of one event: where it lay in Kafka (part, position), and its body, which may be erased.

    `digest` has 32 bytes and commits to salt (16 bytes), attributes (JSON text) and data: all three are there, or none.
    """

    source: str
    id: str
    type: str
    topic: str
    part: int
    position: int
    subject: str | None
    recorded_at: datetime
    digest: bytes
    salt: bytes | None = None
    attributes: str | None = None
    data: bytes | None = None


def canonical(entry: LedgerEntry) -> bytes:
    """The entry as JSON in the canonical form of RFC 8785; salt, attributes and data are in it through the digest alone.

    ValueError for what has no such form: a lone surrogate, a time without a zone, a number outside 0 to 2**53 - 1, a digest
    that is not 32 bytes long.
    """
    source, id_, type_, topic, part, position, subject, recorded_at, digest, _, _, _ = entry
    if not (0 <= part <= _MOST and 0 <= position <= _MOST and len(digest) == HASH_BYTES):
        raise ValueError(f"partition {part}, offset {position} or a digest of {len(digest)} bytes cannot be written")
    about = "" if subject is None else f'"subject":{_quoted(subject)},'
    return (
        f'{{"digest":"{digest.hex()}","id":{_quoted(id_)},"offset":{position},"partition":{part},'
        f'"recorded":"{instant(recorded_at)}","source":{_quoted(source)},{about}"topic":{_quoted(topic)},"type":{_quoted(type_)}}}'
    ).encode()


def leaf_of(entry: LedgerEntry) -> bytes:
    """The entry's leaf in the tree, 32 bytes; ValueError as for `canonical`."""
    return leaf_hash(canonical(entry))


def digest_of(salt: bytes, attributes: str, data: bytes) -> bytes:
    """SHA-256(salt || attributes in UTF-8 || 0x00 || data), 32 bytes.

    ValueError where two bodies could have the same: a salt that is not 16 bytes long, a NUL in the attributes.
    """
    if len(salt) != SALT_BYTES or "\0" in attributes:
        raise ValueError(f"a salt has {SALT_BYTES} bytes and attributes have no NUL")
    return sha256(b"%b%b\0%b" % (salt, attributes.encode(), data)).digest()


def flaw_of(entry: LedgerEntry) -> str | None:
    """What is wrong with the body; None when it is what the digest says, or erased as a whole."""
    salt, attributes, data = entry.salt, entry.attributes, entry.data
    if salt is None and attributes is None and data is None:
        return None
    if salt is None or attributes is None or data is None:
        missing = [name for name in ("salt", "attributes", "data") if getattr(entry, name) is None]
        return f"only a part of the body is there: no {', no '.join(missing)}"
    try:
        found = digest_of(salt, attributes, data)
    except ValueError as error:
        return f"the body has no digest: {error}"
    return None if found == entry.digest else f"the body has the digest {found.hex()}, the entry says {entry.digest.hex()}"


def printable(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def instant(at: datetime) -> str:
    """RFC 3339 in UTC with six digits, such as 2026-11-23T21:30:00.123456Z; ValueError without a zone."""
    if at.tzinfo is not UTC:
        if at.utcoffset() is None:
            raise ValueError("a time without a zone is none")
        at = at.astimezone(UTC)
    parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % parts  # noqa: UP031  # half the time of isoformat, for every entry
