"""What evidence proves, as lines for a person; what stood in it never reaches the terminal as anything but text."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from ledger.checkpoints import Checkpoint, Opened
from ledger.entry import LedgerEntry, instant, printable
from ledger.evidence import Checked, Proved


def lines_of(checked: Checked, *, body: bool) -> Iterator[str]:
    """A line on what is proven, on whose word, and per entry."""
    if checked.old_size is None:
        yield f"proven: {_count(len(checked.entries))} of the ledger {printable(checked.origin)}"
    else:
        yield f"proven: the ledger {printable(checked.origin)} of {_count(checked.size)} continues that of {checked.old_size:,}"
    yield from _on_whose_word(checked.size, checked.root, checked.signers, checked.cosigned)
    for proved in checked.entries:
        yield from _entry_lines(proved, body=body)


def lines_of_checkpoint(opened: Opened) -> Iterator[str]:
    """The same for a checkpoint alone, of which only the signatures are proven."""
    checkpoint: Checkpoint = opened.checkpoint
    yield f"signed: a checkpoint of the ledger {printable(checkpoint.origin)}"
    yield from _on_whose_word(checkpoint.size, checkpoint.root, opened.signers, opened.cosigned)


def _on_whose_word(size: int, root: bytes, signers: list[str], cosigned: Mapping[str, int]) -> Iterator[str]:
    yield f"  size {size:,}"
    yield f"  root {root.hex()}"
    for name in signers:
        seen = f", cosigned {_at(cosigned[name])}: until then it only grew" if name in cosigned else ""
        yield f"  signed by {printable(name)}{seen}"


def _entry_lines(proved: Proved, *, body: bool) -> Iterator[str]:
    entry = proved.entry
    about = f" about {printable(entry.subject)}" if entry.subject else ""
    yield f"entry {proved.index:,}: {printable(entry.type)}{about}, recorded {instant(entry.recorded_at)}"
    if body:
        yield f"  {printable(f'{entry.source} {entry.id}')}, at {printable(entry.topic)}/{entry.part}/{entry.position}"
        yield from (f"  {line}" for line in _body_lines(entry))


def _body_lines(entry: LedgerEntry) -> list[str]:
    if entry.attributes is None or entry.data is None:
        return [f"no body: its digest is {entry.digest.hex()}"]
    return [f"attributes {printable(entry.attributes)}", f"data {printable(entry.data.decode(errors='backslashreplace'))}"]


def _count(entries: int) -> str:
    return f"{entries:,} {'entry' if entries == 1 else 'entries'}"


def _at(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s after 1970"
