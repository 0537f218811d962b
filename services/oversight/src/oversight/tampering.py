"""What somebody may do to a ledger who owns the database: all but sign, and reach the folder outside.

For demonstrations, and for `make tamper`, by which every kind of it has to be found at the right entry.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from random import Random
from typing import Any, NamedTuple

import asyncpg

from ledger.checkpoints import Checkpoint, sign_checkpoint
from ledger.entry import SALT_BYTES, LedgerEntry, digest_of, leaf_of
from ledger.notes import Signer
from ledger.tree import HASH_BYTES, STORED_EVERY, Frontier
from oversight import ledger_store
from oversight import tampering_store as store
from oversight.tampering_store import ENTRY_COLUMNS, Row

_TRIES = 200


class Unsuitable(Exception):
    """This cannot be done to this ledger, such as changing the order of one entry."""


class Done(NamedTuple):
    """What was done, and the first entry that is wrong or missing since; None when it is a table beside the entries."""

    index: int | None  # type: ignore[assignment]  # as in a Node
    text: str


@dataclass(frozen=True)
class Ledger:
    """The ledger before anything was done to it, and the sizes that were signed."""

    entries: Sequence[LedgerEntry]
    sizes: Sequence[int]
    origin: str = "rapport.local/ledger"

    @property
    def signed(self) -> int:
        """Only what is signed can be found to be changed."""
        return max(self.sizes, default=0)

    @cached_property
    def leaves(self) -> list[bytes]:
        """Of every entry its hash."""
        return list(map(leaf_of, self.entries))

    def signed_below(self, size: int) -> int:
        """The newest checkpoint of no more entries."""
        return max((each for each in self.sizes if each <= size), default=0)


Kind = Callable[[Any, Random, Ledger], Awaitable[Done | None]]


async def tamper(owner_connection: Any, kind: str, seed: int) -> str:
    """Does it to a real ledger, for good, and says what; Unsuitable when that cannot be."""
    rng = Random(seed)  # noqa: S311  # to be done again
    async with owner_connection.transaction():
        await store.hold(owner_connection)
        entries = [entry async for batch in ledger_store.entries(owner_connection) for _, _, entry in batch]
        sizes = [size for size, _ in await ledger_store.kept_checkpoints(owner_connection)]
        return (await done_to(owner_connection, rng.choice(DEMONSTRATED[kind]), rng, Ledger(entries, sizes))).text


async def done_to(connection: Any, kind: str, rng: Random, ledger: Ledger) -> Done:
    """One of KINDS, drawn again while PostgreSQL refuses it or nothing changes by it; within a transaction."""
    if not ledger.signed:
        raise Unsuitable("nothing is signed yet")
    for _ in range(_TRIES):
        attempt = connection.transaction()
        await attempt.start()
        with suppress(asyncpg.PostgresError):
            if done := await KINDS[kind](connection, rng, ledger):
                await attempt.commit()
                return done
        await attempt.rollback()
    raise Unsuitable(f"{kind}: this ledger is too small for it")


async def _flip(connection: Any, rng: Random, ledger: Ledger, all_hashes: bool) -> Done | None:
    """A bit of any column; with `all_hashes` everything that is hashed from it follows."""
    index = rng.randrange(ledger.signed)
    column, row = _flipped(rng, ENTRY_COLUMNS, await store.entry_row(connection, index))
    if all_hashes and column in ("index", "leaf"):
        return None
    await store.put_entry(connection, index, row)
    if all_hashes:
        await _rehash(connection, rng, ledger, index, column)
    return Done(index, f"entry {index}: a bit of {column} was flipped{_hashes(all_hashes)}")


async def _rehash(connection: Any, rng: Random, ledger: Ledger, index: int, column: str) -> None:
    (((_, _, entry),),) = [batch async for batch in ledger_store.entries(connection, index, index + 1)]
    if column in ("salt", "attributes", "data") and entry.salt and entry.attributes and entry.data is not None:
        with suppress(ValueError):
            entry = entry._replace(digest=digest_of(entry.salt, entry.attributes, entry.data))
    leaf = rng.randbytes(HASH_BYTES)
    with suppress(ValueError):
        leaf = leaf_of(entry)
    await store.rehash(connection, index, entry.digest, leaf)
    await _grow(connection, [*ledger.leaves[:index], leaf, *ledger.leaves[index + 1 :]], ledger.signed)


async def _delete(connection: Any, rng: Random, ledger: Ledger) -> Done:
    index = rng.randrange(ledger.signed)
    await store.without(connection, index)
    return Done(index, f"entry {index} was deleted")


async def _renumber(connection: Any, rng: Random, ledger: Ledger) -> Done:
    index = rng.randrange(ledger.signed)
    rest = _with_leaves(ledger, index + 1)
    how = await _rewrite(connection, rng, ledger, index, rest)
    return Done(index, f"entry {index} was deleted, and those after it moved up{how}")


async def _insert(connection: Any, rng: Random, ledger: Ledger) -> Done:
    index = rng.randrange(ledger.signed)
    forged = _forged(rng, ledger)
    how = await _rewrite(connection, rng, ledger, index, [(forged, leaf_of(forged)), *_with_leaves(ledger, index)])
    return Done(index, f"an entry was inserted at {index}, and those after it moved down{how}")


async def _reorder(connection: Any, rng: Random, ledger: Ledger) -> Done | None:
    """Two change their places, or one moves up past others."""
    if ledger.signed < 2:
        return None
    first, other = sorted(rng.sample(range(ledger.signed), 2))
    rest = _with_leaves(ledger, first)
    moved = rest[other - first]
    if rng.random() < 0.5:
        rest[0], rest[other - first] = moved, rest[0]
        text = f"entries {first} and {other} changed places"
    else:
        rest = [moved, *rest[: other - first], *rest[other - first + 1 :]]
        text = f"entry {other} was put before {first}"
    return Done(first, text + await _rewrite(connection, rng, ledger, first, rest))


async def _truncate(connection: Any, rng: Random, ledger: Ledger) -> Done:
    index = rng.randrange(ledger.signed)
    how = await _rewrite(connection, rng, ledger, index, [])
    return Done(index, f"entries from {index} on were deleted{how}")


async def _roll_back(connection: Any, rng: Random, ledger: Ledger) -> Done:
    """Every table is as it was at a time when there were fewer entries, not all of them signed yet."""
    index = rng.randrange(ledger.signed)
    await store.entries_from(connection, index, [])
    await _grow(connection, ledger.leaves[:index], ledger.signed_below(index))
    await store.signed_until(connection, index)
    return Done(index, f"everything was rolled back to {index} entries")


async def _fork(connection: Any, rng: Random, ledger: Ledger) -> Done:
    """Another history from some entry on: in itself it is one, with all the checkpoints that it can have."""
    index = rng.randrange(ledger.signed)
    count = rng.choice((1, len(ledger.entries) - index, rng.randint(1, len(ledger.entries) - index + 10)))
    forged = [(each, leaf_of(each)) for each in (_forged(rng, ledger) for _ in range(count))]
    await store.entries_from(connection, index, forged)
    await _grow(connection, [*ledger.leaves[:index], *(leaf for _, leaf in forged)], ledger.signed_below(index))
    await store.signed_until(connection, index)
    return Done(index, f"there is another history of {count} entries from {index} on")


async def _erase(connection: Any, rng: Random, ledger: Ledger) -> Done | None:
    """A body is gone as if it had been erased; the leaf stays as it is."""
    index = rng.randrange(ledger.signed)
    if ledger.entries[index].data is None:
        return None
    await store.erase(connection, index)
    return Done(index, f"entry {index}: its body was taken away")


async def _in_table(connection: Any, rng: Random, ledger: Ledger, table: str) -> Done | None:
    """A bit of any column of it, or rows that come and go."""
    before, columns = await store.table_rows(connection, table), _COLUMNS[table]
    ways = ["flip", "flip", "flip", "gone"] if before else []
    way = rng.choice([*ways, *(["more"] if table in _MORE else [])])
    if way == "more":
        text = await _MORE[table](connection, rng, ledger)
    elif way == "gone":
        # What is signed later says all that an earlier checkpoint does: only the newest one can be missed.
        place = len(before) - 1 if table == "checkpoint" else rng.randrange(len(before))
        await store.put_table(connection, table, [*before[:place], *before[place + 1 :]])
        text = f"row {place} was deleted"
    else:
        place = rng.randrange(len(before))
        column, row = _flipped(rng, columns, before[place])
        await store.put_table(connection, table, [*before[:place], row, *before[place + 1 :]])
        text = f"a bit of {column} in row {place} was flipped"
    return None if await store.table_rows(connection, table) == before else Done(None, f"table {table}: {text}")


async def _foreign_hash(connection: Any, rng: Random, ledger: Ledger) -> str:
    rows = await store.table_rows(connection, "subtree")
    level, index = (
        rng.choice((*range(STORED_EVERY, 28, STORED_EVERY), rng.randrange(2**31))),
        rng.randrange(len(ledger.entries) // 16 + 2),
    )
    row: Row = [level.to_bytes(4), index.to_bytes(8), rng.randbytes(HASH_BYTES)]
    await store.put_table(connection, "subtree", [*rows, row])
    return f"a hash was added at level {level}, index {index}"


async def _foreign_note(connection: Any, rng: Random, ledger: Ledger) -> str:
    """Signed by somebody else under the log's name, for want of its key."""
    size = rng.randrange(1, 2 * len(ledger.entries) + 2)
    signer = Signer(ledger.origin, rng.randbytes(32))
    await store.sign(connection, size, sign_checkpoint(Checkpoint(ledger.origin, size, rng.randbytes(HASH_BYTES)), signer))
    return f"a checkpoint of {size} entries was added"


async def _other_frontier(connection: Any, rng: Random, ledger: Ledger) -> str:
    size = rng.randrange(len(ledger.entries))
    await store.put_table(connection, "frontier", [])
    tree, _ = Frontier().extended(ledger.leaves[:size])
    # size, appended and hashes of another time, which is consistent in itself
    await store.add_frontier(connection, rng.choice((size, len(ledger.entries))), tree)
    return f"it was set back to {size} entries"


async def _rewrite(connection: Any, rng: Random, ledger: Ledger, index: int, rest: Sequence[tuple[LedgerEntry, bytes]]) -> str:
    """Other entries from an index on; as it happens, also every hash follows, and what cannot be signed is taken away."""
    await store.entries_from(connection, index, rest)
    if all_hashes := rng.random() < 0.7:
        leaves = [*ledger.leaves[:index], *(leaf for _, leaf in rest)]
        if hidden := rng.random() < 0.5:
            await store.signed_until(connection, index)
        await _grow(connection, leaves, ledger.signed_below(index) if hidden else min(ledger.signed, len(leaves)))
    return _hashes(all_hashes)


async def _grow(connection: Any, leaves: Sequence[bytes], size: int) -> None:
    await store.tree(connection, len(leaves), *Frontier().extended(leaves[:size]))


def _flipped(rng: Random, columns: Sequence[str], row: Row) -> tuple[str, Row]:
    """One bit is another; that which says that there is no value counts as one."""
    place = rng.randrange(len(columns))
    value, changed = row[place], list(row)
    if not value:
        changed[place] = b"" if value is None else None
    elif rng.random() < 0.05:
        changed[place] = None
    else:
        bit = rng.randrange(len(value) * 8)
        changed[place] = (int.from_bytes(value) ^ 1 << bit).to_bytes(len(value))
    return columns[place], changed


def _forged(rng: Random, ledger: Ledger) -> LedgerEntry:
    """Like one that is there, but never recorded."""
    like, salt = rng.choice(ledger.entries), rng.randbytes(SALT_BYTES)
    if like.attributes is None or like.data is None:
        return like._replace(id=rng.randbytes(16).hex(), digest=rng.randbytes(HASH_BYTES))
    return like._replace(id=rng.randbytes(16).hex(), digest=digest_of(salt, like.attributes, like.data), salt=salt)


def _with_leaves(ledger: Ledger, start: int) -> list[tuple[LedgerEntry, bytes]]:
    return list(zip(ledger.entries[start:], ledger.leaves[start:], strict=True))


def _hashes(all_hashes: bool) -> str:
    return ", and every hash was computed anew" if all_hashes else ""


_COLUMNS = {
    "subtree": ("level", "index", "hash"),
    "checkpoint": ("size", "note"),
    "frontier": ("one", "appended", "size", "nodes"),
}
_MORE: Mapping[str, Callable[[Any, Random, Ledger], Awaitable[str]]] = {
    "subtree": _foreign_hash, "checkpoint": _foreign_note, "frontier": _other_frontier,
}  # fmt: skip

KINDS: Mapping[str, Kind] = {
    "flip": partial(_flip, all_hashes=False),
    "flip, every hash anew": partial(_flip, all_hashes=True),
    "delete": _delete,
    "delete and renumber": _renumber,
    "insert": _insert,
    "reorder": _reorder,
    "truncate": _truncate,
    "roll back": _roll_back,
    "fork": _fork,
    "erase": _erase,
    **{f"table {name}": partial(_in_table, table=name) for name in _COLUMNS},
}
DEMONSTRATED = {
    "flip": ("flip", "flip, every hash anew"),
    "delete": ("delete", "delete and renumber"),
    "insert": ("insert",),
    "reorder": ("reorder",),
    "truncate": ("truncate",),
}
