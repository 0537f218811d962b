"""Holds the whole ledger against what was signed, and names the first entry that is not what it was.

Where leaf hashes lie outside and lead to the root that was signed, every entry is held against its own; without them an entry
that was changed together with every hash is only known to be between two checkpoints.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.checkpoints import Checkpoint, CheckpointError, Opened, open_checkpoint
from ledger.notes import NoteError, Verifier
from ledger.tree import EMPTY, STORED_EVERY
from oversight import ledger_store as store
from oversight.outside import OutsideView
from oversight.walking import Flaw, Flaws, Signed, Walk

_AT_ONCE, _SAY_EVERY = 2000, 250_000


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
    say: Callable[[str], None] = lambda _: None,
) -> Verdict:  # fmt: skip
    """Reads the whole ledger as it is in one instant; a body may be gone if a signed entry says so.

    What lies outside is read first: it never is ahead of what is read after it. OSError when the folder cannot be read.
    """
    found = Flaws()
    there = Signed.opened(outside, verifiers, found) if outside else None
    async with store.snapshot(connection):
        notes = _opened(await store.kept_checkpoints(connection), verifiers, found)
        frontiers = await store.kept_frontiers(connection)
        walk = Walk(found, there, {*notes, *(each.size for each in (there, since) if each)})
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


def _opened(rows: Sequence[tuple[int, str]], verifiers: Sequence[Verifier], found: Flaws) -> dict[int, Opened]:
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


def _compare_roots(notes: Mapping[int, Opened], walk: Walk, found: Flaws) -> int:
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


def _compare_frontier(rows: Sequence[tuple[int, int, list[bytes], str | None]], size: int, walk: Walk, found: Flaws) -> None:
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


def _compare_subtrees(stored: Mapping[tuple[int, int], bytes], size: int, walk: Walk, found: Flaws) -> None:
    """As far as the tree is known; of none that is kept there is less than a whole."""
    for (level, index), each in walk.subtrees.items():
        if index + 1 << level <= size and stored.get((level, index)) != each:
            found.add("subtree", None, f"the hash at level {level}, index {index} is {_how(stored, (level, index))}")
    for level, index in stored.keys() - walk.subtrees.keys():
        if not (level in range(STORED_EVERY, 64, STORED_EVERY) and index >= 0 and walk.tree.size < index + 1 << level <= size):
            found.add("subtree", None, f"there is a hash at level {level}, index {index}, which the tree does not have")
    if extra := [place for place in walk.subtrees if place in stored and place[1] + 1 << place[0] > size]:
        found.add("subtree", None, f"{len(extra)} hashes are of more than the {size:,} entries that are signed")


def _compare_held(since: Checkpoint | None, size: int, outside: Signed | None, walk: Walk, found: Flaws) -> None:
    """What a reader holds from earlier, and what lies outside, is the beginning of this ledger."""
    if outside and outside.size > size:
        text = f"the newest checkpoint here is of {size:,} entries, outside lies one of {outside.size:,}: it was rolled back"
        found.add("checkpoint", None, text)
    if outside and outside.size in walk.at and not outside.known and walk.at[outside.size].root != outside.root:
        found.add("outside", None, f"the first {outside.size:,} entries do not lead to the root that was signed there")
    if since and since.size in walk.at and walk.at[since.size].root != since.root:
        found.add("since", None, f"the first {since.size:,} entries are not those of the checkpoint that was seen earlier")


def _summary(verdict: Verdict) -> str:
    first = verdict.first_bad
    return "not good" if first is None else f"not good: the first entry that is wrong or missing is {first}"


def _how(stored: Mapping[tuple[int, int], bytes], place: tuple[int, int]) -> str:
    return "not that of its entries" if place in stored else "missing"


def _dims(nodes: Sequence[bytes]) -> str | None:
    return f"[1:{len(nodes)}]" if nodes else None
