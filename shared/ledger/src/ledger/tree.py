"""The Merkle tree of RFC 6962 section 2.1, which RFC 9162 section 2.1 keeps, grown at its right edge alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32
STORED_EVERY = 4
EMPTY = sha256(b"").digest()

_LEAF, _NODE = b"\x00", b"\x01"


class Node(NamedTuple):
    """The root of a complete subtree: its first leaf is `index << level`, it has `1 << level` of them."""

    level: int
    index: int  # type: ignore[assignment]  # a tuple has a method of this name, which nobody needs here
    hash: bytes


def leaf_hash(entry: bytes) -> bytes:
    """The 32 bytes that stand for an entry (RFC 6962 2.1: MTH of a list of one)."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32 bytes above two hashes; no leaf can have them, because leaves are prefixed otherwise (RFC 6962 2.1)."""
    return sha256(_NODE + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes, from first to last (RFC 6962 2.1); EMPTY of none."""
    return Frontier().extended(hashes)[0].root


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that a tree needs to grow: how many leaves, and the roots of its complete subtrees from the largest to the smallest.

    There is one node per bit of `size`, so (size, nodes) can be written down anywhere and be read again. ValueError when they
    do not belong together.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.nodes) != self.size.bit_count():
            raise ValueError(
                f"{self.size} leaves have {max(self.size, 0).bit_count()} complete subtrees, not {len(self.nodes)}"
            )
        _check(self.nodes)

    @property
    def root(self) -> bytes:
        """MTH of all leaves (RFC 6962 2.1)."""
        return reduce(lambda right, left: node_hash(left, right), reversed(self.nodes)) if self.nodes else EMPTY

    def extended(self, leaf_hashes: Sequence[bytes]) -> tuple["Frontier", list[Node]]:
        """The frontier after these leaves, and the subtrees that came complete at levels 4, 8, 12 …, the lowest level first.

        ValueError for a hash that is not 32 bytes long.
        """
        _check(leaf_hashes)
        old, new, completed = list(self.nodes), [], []
        row, level = list(leaf_hashes), 0
        while row:
            if level and level % STORED_EVERY == 0:
                completed += [Node(level, index, each) for index, each in enumerate(row, self.size >> level)]
            if self.size >> level & 1:
                row.insert(0, old.pop())
            if len(row) & 1:
                new.append(row.pop())
            row, level = above(row), level + 1
        return Frontier(self.size + len(leaf_hashes), (*old, *reversed(new))), completed


def above(row: Sequence[bytes]) -> list[bytes]:
    """The hashes above an even number of neighbours, pair by pair."""
    digest, pairs = sha256, iter(row)
    return [digest(_NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]


def _check(hashes: Iterable[bytes]) -> None:
    if wrong := set(map(len, hashes)) - {HASH_BYTES}:
        raise ValueError(f"a hash has {HASH_BYTES} bytes, not {min(wrong)}")
