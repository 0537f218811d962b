"""The way through all entries: each in its place, against its own hashes and those that lie outside."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from contracts.oversight import ContentErased
from contracts.topics import OWNED
from ledger.checkpoints import CheckpointError, open_checkpoint
from ledger.entry import LedgerEntry, digest_of, flaw_of, leaf_of
from ledger.notes import NoteError, Verifier
from ledger.tree import Frontier
from oversight.outside import OutsideView

Batch = Sequence[Sequence[Any]]

_AT_ONCE, _MOST_OF_A_KIND = 2000, 8
_ERASED = ContentErased.type


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong; `index` is that of the entry, where there is one that can be named exactly."""

    kind: str
    index: int | None
    text: str


@dataclass(slots=True)
class Flaws:
    """The first ones of all; who inserts one entry makes all after it wrong."""

    listed: list[Flaw] = field(default_factory=list)
    more: int = 0
    _kinds: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, index: int | None, text: str) -> None:
        self._kinds[kind] += 1
        if self._kinds[kind] <= _MOST_OF_A_KIND:
            self.listed.append(Flaw(kind, index, text))
        else:
            self.more += 1


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed outside; its leaves are taken for true up to `known`: all of them, or none."""

    view: OutsideView
    size: int
    root: bytes
    known: int

    @classmethod
    def opened(cls, view: OutsideView, verifiers: Sequence[Verifier], found: Flaws) -> "Signed | None":
        note = view.checkpoint
        if note is None:
            found.add("outside", None, "there is no checkpoint in the folder")
            return None
        try:
            signed = open_checkpoint(note, verifiers).checkpoint
        except (NoteError, CheckpointError) as error:
            found.add("outside", None, f"its checkpoint is none: {error}")
            return None
        try:
            root = _root_over(view, signed.size)
        except (OSError, ValueError) as error:
            found.add("outside", None, str(error))
            return cls(view, signed.size, signed.root, 0)
        if root != signed.root:
            found.add("outside", None, f"the leaves there do not lead to the root that was signed over {signed.size:,}")
        return cls(view, signed.size, signed.root, signed.size if root == signed.root else 0)


class Walk:
    """Every entry in its place, against its own hashes; the tree grows over the leaves that are true as far as one can know.

    `end`: where the next entry should be. The tree stands still at the first leaf of which nobody knows what it was.
    """

    def __init__(self, found: Flaws, outside: Signed | None, sizes: set[int]) -> None:
        self._found = found
        self._outside, self._known = outside, outside.known if outside else 0
        self._sizes, self._lost = sorted(sizes), False
        self.tree, self.at, self.subtrees = Frontier(), {0: Frontier()}, dict[tuple[int, int], bytes]()
        self.end = self.read = 0
        self._gone, self._erasures = list[int](), list[tuple[int, range]]()

    def take(self, batch: Batch) -> None:
        first, last = batch[0][0], batch[-1][0]
        self.read += len(batch)
        if first == self.end and last - first + 1 == len(batch) and (leaves := self._faultless(first, batch)):
            self.end = last + 1
            self._grow(leaves)
            return
        for index, leaf, *fields in batch:
            self._one(index, leaf, LedgerEntry._make(fields))

    def finish(self, size: int) -> None:
        """There must be so many entries."""
        if self.end < size:
            self._missing(size)

    def _faultless(self, first: int, batch: Batch) -> list[bytes] | None:
        """The leaves of a batch without any flaw: the way of nearly every entry, so nothing is done twice here."""
        true, leaves = self._true(first, first + len(batch)), list[bytes]()
        for row in batch:
            leaf, digest, salt, attributes, data = row[1], *row[10:]
            try:
                leaves.append(leaf_of(row[2:]))  # type: ignore[arg-type]  # has the fields of an entry
                if data is not None and digest_of(salt, attributes, data) != digest:
                    return None
            except (ValueError, TypeError, AttributeError):
                return None
            if leaf != leaves[-1] or (data is None and not salt is attributes is None):
                return None
        if leaves[: len(true)] != true:
            return None
        for row in batch:
            if row[13] is None or row[4] == _ERASED:
                self._erasing(row[0], LedgerEntry._make(row[2:]))
        return leaves

    def _one(self, index: int, stored: bytes, entry: LedgerEntry) -> None:
        if index < self.end:
            self._found.add("foreign", None, f"there is an entry at {index}, where none can be")
            return
        if index > self.end:
            self._missing(index)
        self.end, true = index + 1, self._true(index, index + 1)
        try:
            leaf = leaf_of(entry)
            wrong = self._wrong(index, stored, entry, leaf, true[0] if true else None)
        except ValueError as error:
            leaf, wrong = stored, [f"no entry has such a form: {error}"]
        if wrong:
            self._found.add("entry", index, f"entry {index}: {'; '.join(wrong)}")
        self._lost = self._lost or (bool(wrong) and not true)
        self._grow(true or [leaf])

    def _wrong(self, index: int, stored: bytes, entry: LedgerEntry, leaf: bytes, true: bytes | None) -> list[str]:
        wrong = []
        if true not in (None, leaf):
            wrong.append("it is not the one that was signed")
        if stored not in (leaf, true):
            wrong.append("the leaf beside it is not its own")
        elif stored != leaf:
            wrong.append("it is not the one that the leaf beside it is of")
        if flaw := flaw_of(entry):
            wrong.append(flaw)
        if not wrong:
            self._erasing(index, entry)
        return wrong

    def _erasing(self, index: int, entry: LedgerEntry) -> None:
        """Whose body is gone, and what says that it may be; which of them counts is known in the end."""
        if OWNED.get(entry.topic) != entry.source:
            return
        if entry.data is None:
            self._gone.append(index)
        elif entry.type == _ERASED:
            with suppress(ValueError):
                said = ContentErased.model_validate_json(entry.data)
                self._erasures.append((index, range(said.first, said.stop)))

    def finish_erased(self, size: int) -> None:
        """Anybody can write an entry that says so; it counts once it is signed."""
        spans = [span for index, span in self._erasures if index < size]
        for index in self._gone:
            if not any(index in span for span in spans):
                self._found.add("entry", index, f"entry {index}: its body is gone, and no signed entry says that it was erased")

    def _missing(self, stop: int) -> None:
        start, self.end = self.end, stop
        which = f"entry {start} is" if stop == start + 1 else f"entries {start} to {stop - 1} are"
        self._found.add("missing", start, f"{which} missing")
        for begin in range(start, min(stop, self._known), _AT_ONCE):
            self._grow(self._true(begin, min(begin + _AT_ONCE, stop)))
        self._lost = self._lost or stop > self._known

    def _true(self, start: int, stop: int) -> list[bytes]:
        return self._outside.view.leaves(start, min(stop, self._known)) if self._outside and start < self._known else []

    def _grow(self, leaves: Sequence[bytes]) -> None:
        """Stands still at each size whose root somebody wants to know."""
        done = 0
        while done < len(leaves) and not self._lost:
            place = bisect_right(self._sizes, self.tree.size)
            wanted = self._sizes[place] - self.tree.size if place < len(self._sizes) else len(leaves)
            part = leaves[done : done + wanted]
            self.tree, completed = self.tree.extended(part)
            self.subtrees.update(((level, index), each) for level, index, each in completed)
            self.at[self.tree.size], done = self.tree, done + len(part)


def _root_over(view: OutsideView, size: int) -> bytes:
    tree = Frontier()
    while tree.size < size:
        tree, _ = tree.extended(view.leaves(tree.size, min(tree.size + _AT_ONCE, size)))
    return tree.root
