"""Holds the whole ledger against what was signed, and names the first entry that is not what it was.

Where leaf hashes lie outside and lead to the root that was signed, every entry is held against its own; without them an entry
that was changed together with every hash is only known to be between two checkpoints.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from contracts.oversight import ContentErased
from contracts.topics import OWNED
from ledger.checkpoints import Checkpoint, CheckpointError, Opened, open_checkpoint
from ledger.entry import LedgerEntry, digest_of, flaw_of, leaf_of
from ledger.notes import NoteError, Verifier
from ledger.tree import EMPTY, STORED_EVERY, Frontier
from oversight import ledger_store as store
from oversight.outside import OutsideView

Batch = Sequence[Sequence[Any]]

_AT_ONCE, _SAY_EVERY, _MOST_OF_A_KIND = 2000, 250_000, 8
_ERASED = ContentErased.type


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong; `index` is that of the entry, where there is one that can be named exactly."""

    kind: str
    index: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Size and root of the newest checkpoint in the ledger; `unsigned` entries came after it; `more` flaws are not listed."""

    size: int
    root: bytes
    checkpoints: int
    signers: list[str]
    unsigned: int
    flaws: list[Flaw]
    outside: int | None = None
    more: int = 0

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.flaws

    @property
    def first_bad(self) -> int | None:
        """The first entry that is wrong or missing, where it can be named."""
        return min((flaw.index for flaw in self.flaws if flaw.index is not None), default=None)


def lines(verdict: Verdict) -> list[str]:
    """What a person reads."""
    by = ", ".join(verdict.signers) or "nobody"
    outside = "none was given" if verdict.outside is None else f"{verdict.outside:,} entries are signed there"
    return [
        f"size         {verdict.size:,} entries under the newest checkpoint, {verdict.unsigned:,} after it",
        f"root         {verdict.root.hex()}",
        f"checkpoints  {verdict.checkpoints:,} verified, the newest signed by {by}",
        f"outside      {outside}",
        *(f"WRONG        {flaw.kind}: {flaw.text}" for flaw in verdict.flaws),
        *([f"WRONG        and {verdict.more:,} more"] if verdict.more else []),
        "all good" if verdict.good else _summary(verdict),
    ]


async def verify(
    connection: Any, verifiers: Sequence[Verifier], outside: OutsideView | None, since: Checkpoint | None = None,
    say: Callable[[str], None] = lambda _: None, erased: Container[int] = frozenset(),
) -> Verdict:  # fmt: skip
    """Reads the whole ledger as it is in one instant; a body may be gone if a signed entry says so, or `erased` has its index.

    What lies outside is read first: it never is ahead of what is read after it. OSError when the folder cannot be read.
    """
    found = _Flaws()
    there = _Outside.opened(outside, verifiers, found) if outside else None
    async with store.snapshot(connection):
        notes = _opened(await store.kept_checkpoints(connection), verifiers, found)
        frontiers = await store.kept_frontiers(connection)
        walk = _Walk(found, there, erased, {*notes, *(each.size for each in (there, since) if each)})
        async for batch in store.all_rows(connection, _AT_ONCE):
            before = walk.end
            walk.take(batch)
            if walk.end // _SAY_EVERY > before // _SAY_EVERY:
                say(f"{walk.end:,} entries read")
        subtrees = await store.kept_subtrees(connection)
    size = max(notes, default=0)
    walk.finish(max(size, *(each.size for each in (there, since) if each), 0))
    verified = _compare_roots(notes, walk, found)
    _compare_frontier(frontiers, size, walk, found)
    _compare_subtrees(subtrees, size, walk, found)
    _compare_held(since, size, there, walk, found)
    walk.finish_erased(size)
    newest = notes.get(size)
    return Verdict(
        size, newest.checkpoint.root if newest else EMPTY, verified, newest.signers if newest else [], max(walk.read - size, 0),
        found.listed, there.size if there else None, found.more,
    )  # fmt: skip


@dataclass(slots=True)
class _Flaws:
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
class _Outside:
    """What was signed outside; its leaves are taken for true up to `known`: all of them, or none."""

    view: OutsideView
    size: int
    root: bytes
    known: int

    @classmethod
    def opened(cls, view: OutsideView, verifiers: Sequence[Verifier], found: _Flaws) -> "_Outside | None":
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


class _Walk:
    """Every entry in its place, against its own hashes; the tree grows over the leaves that are true as far as one can know.

    `end`: where the next entry should be. The tree stands still at the first leaf of which nobody knows what it was.
    """

    def __init__(self, found: _Flaws, outside: _Outside | None, erased: Container[int], sizes: set[int]) -> None:
        self._found, self._erased = found, erased
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
        if entry.data is None and index not in self._erased:
            self._gone.append(index)
        elif entry.data is not None and entry.type == _ERASED:
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


def _opened(rows: Sequence[tuple[int, str]], verifiers: Sequence[Verifier], found: _Flaws) -> dict[int, Opened]:
    """Those that are what was signed, by their size."""
    opened: dict[int, Opened] = {}
    for size, note in rows:
        try:
            each = open_checkpoint(note, verifiers)
        except (NoteError, CheckpointError) as error:
            found.add("checkpoint", None, f"the checkpoint of {size:,} entries was not signed: {error}")
            continue
        if each.checkpoint.size == size:
            opened[size] = each
        else:
            found.add("checkpoint", None, f"the checkpoint at {size:,} was signed over {each.checkpoint.size:,} entries")
    return opened


def _compare_roots(notes: Mapping[int, Opened], walk: _Walk, found: _Flaws) -> int:
    """How many lead to the entries; the first that does not says where to look, those after it say nothing more."""
    good, verified = 0, 0
    for size, opened in notes.items():
        if size not in walk.at:
            break
        if walk.at[size].root != opened.checkpoint.root:
            where = f"something is not as it was from entry {good} to {size - 1}; which one only the leaves outside can tell"
            found.add("checkpoint", None, f"the entries do not lead to the root that was signed over {size:,}: {where}")
            break
        good, verified = size, verified + 1
    return verified


def _compare_frontier(rows: Sequence[tuple[int, int, list[bytes], str | None]], size: int, walk: _Walk, found: _Flaws) -> None:
    if len(rows) != 1:
        found.add("frontier", None, f"there are {len(rows)} of them")
        return
    appended, kept, nodes, dims = rows[0]
    if appended != walk.end:
        found.add("frontier", None, f"it says that {appended:,} entries were appended, there should be {walk.end:,}")
    if kept != size:
        found.add("frontier", None, f"it is of {kept:,} entries, the newest checkpoint of {size:,}")
    elif size in walk.at and (nodes, dims) != (expected := list(walk.at[size].nodes), _dims(expected)):
        found.add("frontier", None, f"its hashes are not those over the first {size:,} entries")


def _compare_subtrees(stored: Mapping[tuple[int, int], bytes], size: int, walk: _Walk, found: _Flaws) -> None:
    """As far as the tree is known; of none that is kept there is less than a whole."""
    for (level, index), each in walk.subtrees.items():
        if index + 1 << level <= size and stored.get((level, index)) != each:
            found.add("subtree", None, f"the hash at level {level}, index {index} is {_how(stored, (level, index))}")
    for level, index in stored.keys() - walk.subtrees.keys():
        if not (level in range(STORED_EVERY, 64, STORED_EVERY) and index >= 0 and walk.tree.size < index + 1 << level <= size):
            found.add("subtree", None, f"there is a hash at level {level}, index {index}, which the tree does not have")
    if extra := [place for place in walk.subtrees if place in stored and place[1] + 1 << place[0] > size]:
        found.add("subtree", None, f"{len(extra)} hashes are of more than the {size:,} entries that are signed")


def _compare_held(since: Checkpoint | None, size: int, outside: _Outside | None, walk: _Walk, found: _Flaws) -> None:
    """What a reader holds from earlier, and what lies outside, is the beginning of this ledger."""
    if outside and outside.size > size:
        text = f"the newest checkpoint here is of {size:,} entries, outside lies one of {outside.size:,}: it was rolled back"
        found.add("checkpoint", None, text)
    if outside and outside.size in walk.at and not outside.known and walk.at[outside.size].root != outside.root:
        found.add("outside", None, f"the first {outside.size:,} entries do not lead to the root that was signed there")
    if since and since.size in walk.at and walk.at[since.size].root != since.root:
        found.add("since", None, f"the first {since.size:,} entries are not those of the checkpoint that was seen earlier")


def _root_over(view: OutsideView, size: int) -> bytes:
    tree = Frontier()
    while tree.size < size:
        tree, _ = tree.extended(view.leaves(tree.size, min(tree.size + _AT_ONCE, size)))
    return tree.root


def _summary(verdict: Verdict) -> str:
    first = verdict.first_bad
    return "not good" if first is None else f"not good: the first entry that is wrong or missing is {first}"


def _how(stored: Mapping[tuple[int, int], bytes], place: tuple[int, int]) -> str:
    return "not that of its entries" if place in stored else "missing"


def _dims(nodes: Sequence[bytes]) -> str | None:
    return f"[1:{len(nodes)}]" if nodes else None
