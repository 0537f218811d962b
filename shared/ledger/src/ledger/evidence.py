"""Evidence as a file: entries with their way to a signed checkpoint, or two checkpoints of which one continues the other.

Whoever holds such a file and the log's public key needs nothing else, above all not the log.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ledger.checkpoints import CheckpointError, Opened, open_checkpoint
from ledger.entry import LedgerEntry, canonical, flaw_of, instant, leaf_of
from ledger.notes import NoteError, Verifier, strict_base64
from ledger.proofs import ProofError, verify_consistency, verify_inclusion

PROOF, CONSISTENCY = "rapport-ledger-proof/v1", "rapport-ledger-consistency/v1"

Shape = Mapping[str, tuple[type, ...]]

_TEXT, _NUMBER, _MAYBE, _LIST = (str,), (int,), (str, type(None)), (list,)
_OF_PROOF: Shape = {"format": _TEXT, "checkpoint": _TEXT, "entries": _LIST}
_OF_CONSISTENCY: Shape = {"format": _TEXT, "old": _TEXT, "new": _TEXT, "path": _LIST}
_OF_ITEM: Shape = {
    "index": _NUMBER, "entry": (dict,), "salt": _MAYBE, "attributes": _MAYBE, "data": _MAYBE, "path": _LIST,
}  # fmt: skip
_OF_ENTRY: Shape = {
    "digest": _TEXT, "id": _TEXT, "offset": _NUMBER, "partition": _NUMBER, "recorded": _TEXT, "source": _TEXT, "subject": _TEXT,
    "topic": _TEXT, "type": _TEXT,
}  # fmt: skip


class EvidenceError(Exception):
    """A document proves nothing; the message says where and why."""


class Proved(NamedTuple):
    """An entry that is in the log: its body is as it was recorded, or was erased since."""

    index: int  # type: ignore[assignment]  # as in a Node
    entry: LedgerEntry


class Included(NamedTuple):
    """What a document says of one entry: where it is, and the path from there to the checkpoint's root."""

    index: int  # type: ignore[assignment]  # as in a Node
    entry: LedgerEntry
    path: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a document proves: these entries are in the log of that size and root, or it continues that of `old_size` leaves."""

    origin: str
    size: int
    root: bytes
    signers: list[str]
    cosigned: Mapping[str, int]
    entries: list[Proved]
    old_size: int | None = None


def inclusion_document(checkpoint: str, entries: Iterable[Included]) -> str:
    """The file that proves these entries under a checkpoint (a signed note)."""
    return _written({"format": PROOF, "checkpoint": checkpoint, "entries": [_item(each) for each in entries]})


def consistency_document(old: str, new: str, path: Sequence[bytes]) -> str:
    """The file that proves that the old checkpoint's log is the beginning of the new one's (signed notes)."""
    return _written({"format": CONSISTENCY, "old": old, "new": new, "path": [_base64(each) for each in path]})


def check(document: bytes | str, verifiers: Iterable[Verifier]) -> Checked:
    """What the document proves to the holder of these keys; EvidenceError names the first thing that is wrong, and no other."""
    whole, known = _read(document), list(verifiers)
    if whole.get("format") == PROOF:
        return _checked_entries(_shaped(whole, _OF_PROOF), known)
    if whole.get("format") == CONSISTENCY:
        return _checked_consistency(_shaped(whole, _OF_CONSISTENCY), known)
    raise EvidenceError(f"the format is neither {PROOF} nor {CONSISTENCY}")


def _checked_entries(whole: dict[str, Any], known: list[Verifier]) -> Checked:
    opened = _opened("checkpoint", whole["checkpoint"], known)
    if not whole["entries"]:
        raise EvidenceError("there is no entry to prove")
    proved = [_proved(place, item, opened) for place, item in enumerate(whole["entries"], 1)]
    if len({each.index for each in proved}) < len(proved):
        raise EvidenceError("an entry is there twice")
    checkpoint = opened.checkpoint
    return Checked(checkpoint.origin, checkpoint.size, checkpoint.root, opened.signers, opened.cosigned, proved)


def _checked_consistency(whole: dict[str, Any], known: list[Verifier]) -> Checked:
    first, then = _opened("old", whole["old"], known), _opened("new", whole["new"], known)
    old, new = first.checkpoint, then.checkpoint
    if old.origin != new.origin:
        raise EvidenceError("the checkpoints are of two logs")
    try:
        verify_consistency(old.size, new.size, old.root, new.root, _path(whole["path"]))
    except (ProofError, ValueError) as error:
        raise EvidenceError(f"the new checkpoint does not continue the old one: {error}") from None
    return Checked(new.origin, new.size, new.root, then.signers, then.cosigned, [], old.size)


def _proved(place: int, item: object, opened: Opened) -> Proved:
    try:
        members = _shaped(item, _OF_ITEM)
        entry, checkpoint = _entry(members), opened.checkpoint
        verify_inclusion(leaf_of(entry), members["index"], checkpoint.size, _path(members["path"]), checkpoint.root)
        if flaw := flaw_of(entry):
            raise EvidenceError(flaw)
    except (EvidenceError, ProofError, ValueError, OverflowError) as error:
        raise EvidenceError(f"entry {place} of the document: {error}") from None
    return Proved(members["index"], entry)


def _entry(item: dict[str, Any]) -> LedgerEntry:
    """The entry of its canonical members and its body; ValueError or EvidenceError when there is another way to write it."""
    said = _shaped(item["entry"], _OF_ENTRY, {"subject"})
    recorded_at = datetime.fromisoformat(said["recorded"])
    if instant(recorded_at) != said["recorded"]:
        raise EvidenceError("recorded is not in UTC with six digits")
    salt, data = item["salt"], item["data"]
    return LedgerEntry(
        said["source"], said["id"], said["type"], said["topic"], said["partition"], said["offset"], said.get("subject"),
        recorded_at, _hex(said["digest"]), None if salt is None else _hex(salt), item["attributes"],
        None if data is None else strict_base64(data),
    )  # fmt: skip


def _item(included: Included) -> dict[str, Any]:
    entry = included.entry
    return {
        "index": included.index,
        "entry": json.loads(canonical(entry)),
        "salt": None if entry.salt is None else entry.salt.hex(),
        "attributes": entry.attributes,
        "data": None if entry.data is None else _base64(entry.data),
        "path": [_base64(each) for each in included.path],
    }


def _opened(where: str, note: str, known: list[Verifier]) -> Opened:
    try:
        return open_checkpoint(note, known)
    except (NoteError, CheckpointError) as error:
        raise EvidenceError(f"{where}: {error}") from None


def _read(document: bytes | str) -> dict[str, Any]:
    try:
        text = document if isinstance(document, str) else document.decode()
        whole = json.loads(text, object_pairs_hook=_once, parse_constant=_none_such)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"the document is not JSON in UTF-8: {error}") from None
    if not isinstance(whole, dict):
        raise EvidenceError("the document is not an object")
    return whole


def _shaped(value: object, shape: Shape, optional: Iterable[str] = ()) -> dict[str, Any]:
    """The object with exactly these members, each of one of its types; EvidenceError names the first that is not."""
    if not isinstance(value, dict):
        raise EvidenceError("it is not an object")
    if missing := sorted(shape.keys() - value.keys() - set(optional)):
        raise EvidenceError(f"{missing[0]} is missing")
    if unknown := value.keys() - shape.keys():
        raise EvidenceError(f"there are {len(unknown)} members that the format does not have")
    for name, each in value.items():
        if type(each) not in shape[name]:
            raise EvidenceError(f"{name} is of another type")
    return value


def _path(encoded: Sequence[object]) -> list[bytes]:
    if not all(isinstance(each, str) for each in encoded):
        raise EvidenceError("path is not a list of texts")
    return [strict_base64(str(each)) for each in encoded]


def _hex(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if raw.hex() != text:
        raise ValueError("not in small hexadecimal digits")
    return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members := dict(pairs)) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def _none_such(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _written(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()
