"""Proofs of inclusion and consistency (RFC 9162 sections 2.1.3 and 2.1.4): what to read for one, how to build and verify it.

A store keeps the leaf hashes (level 0) and the nodes that `Frontier.extended` names (levels 4, 8, 12 …), each under its
level and index. A proof is planned first, as a few spans of these; then it is built from what was read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ledger.tree import EMPTY, HASH_BYTES, STORED_EVERY, Frontier, above, node_hash

Hashes = Mapping[tuple[int, int], bytes]
Range = tuple[int, int]


class ProofError(Exception):
    """A proof cannot be built, or does not prove what it should."""

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(f"{what}: expected {_shown(expected)}, found {_shown(found)}")
        self.expected, self.found = expected, found


class Span(NamedTuple):
    """Neighbouring hashes of one stored level: from index `start` up to `stop`, that one excluded."""

    level: int
    start: int
    stop: int


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The leaves [start, stop) under each hash of an inclusion proof, from the leaf to the root (RFC 9162 2.1.3.1)."""
    _in_tree(index, size)
    start, stop, ranges = 0, size, list[Range]()
    while stop - start > 1:
        middle = _middle(start, stop)
        if index < middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The leaves [start, stop) under each hash of a consistency proof (RFC 9162 2.1.4.1); none from 0 or to the same size."""
    _grown(old, new)
    start, stop, ranges = 0, new, list[Range]()
    while old not in (0, stop):
        middle = _middle(start, stop)
        if old <= middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return [*([(start, stop)] if start else []), *ranges[::-1]]


def inclusion_spans(index: int, size: int) -> list[Span]:
    """What to read for a proof that leaf `index` is in the tree of `size` leaves."""
    return _spans(inclusion_ranges(index, size))


def inclusion_proof(index: int, size: int, hashes: Hashes) -> list[bytes]:
    """The path of hashes from the leaf to the root; ProofError when one of `inclusion_spans` is missing."""
    return [_over(each, hashes).root for each in inclusion_ranges(index, size)]


def consistency_spans(old: int, new: int, every: int = STORED_EVERY) -> list[Span]:
    """What to read for a proof that the tree of `old` leaves is the beginning of that of `new` leaves.

    `every`: so many levels are from one that is stored to the next; tiles have every eighth.
    """
    return _spans(consistency_ranges(old, new), every)


def consistency_proof(old: int, new: int, hashes: Hashes, every: int = STORED_EVERY) -> list[bytes]:
    """The path of hashes that leads to both roots; ProofError when one of `consistency_spans` is missing."""
    return [_over(each, hashes, every).root for each in consistency_ranges(old, new)]


def frontier_spans(size: int) -> list[Span]:
    """What to read to have the frontier of the first `size` leaves again."""
    _grown(0, size)
    return _spans([(0, size)])


def frontier_at(size: int, hashes: Hashes) -> Frontier:
    """The frontier of the first `size` leaves; ProofError when one of `frontier_spans` is missing."""
    _grown(0, size)
    return _over((0, size), hashes)


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that the path leads to from this leaf hash (RFC 9162 2.1.3.2); ProofError when it leads to none."""
    _in_tree(index, size)
    _check([leaf, *path])
    r = leaf
    for p, is_left in _steps(index, size - 1, path):
        r = node_hash(p, r) if is_left else node_hash(r, p)
    return r


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Returns when the leaf hash is at `index` of the tree with this size and root; else ProofError (RFC 9162 2.1.3.2)."""
    if (found := root_from_inclusion(leaf, index, size, path)) != root:
        raise ProofError(f"leaf {index} does not lead to the root of {size} leaves", root, found)


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Returns when the old tree is the beginning of the new one; else ProofError (RFC 9162 2.1.4.2).

    What the RFC leaves out needs no path: equal sizes have equal roots, and the empty tree is the beginning of every tree.
    """
    _grown(old_size, new_size)
    _check([old_root, new_root, *path])
    if old_size == new_size or old_size == 0:
        old, new = (old_root if old_size else EMPTY), (new_root if old_size < new_size else old_root)
        list(_steps(0, 0, path))
    else:
        old, new = _both_roots(old_size, new_size, old_root, path)
    if old != old_root:
        raise ProofError(f"the path does not lead to the root of {old_size} leaves", old_root, old)
    if new != new_root:
        raise ProofError(f"the path does not lead to the root of {new_size} leaves", new_root, new)


def _both_roots(old_size: int, new_size: int, old_root: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    if not path:
        raise ProofError("the path is too short", "at least one hash", "none")
    first, *rest = path if old_size & (old_size - 1) else [old_root, *path]
    fn, sn, fr, sr = old_size - 1, new_size - 1, first, first
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    for c, is_left in _steps(fn, sn, rest):
        fr, sr = (node_hash(c, fr), node_hash(c, sr)) if is_left else (fr, node_hash(sr, c))
    return fr, sr


def _steps(fn: int, sn: int, path: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of the path, and whether it stands to the left: step 4 of RFC 9162 2.1.3.2, step 6 of 2.1.4.2."""
    for done, each in enumerate(path):
        if sn == 0:
            raise ProofError("the path is too long", f"{done} hashes", len(path))
        is_left = bool(fn & 1) or fn == sn
        while is_left and not fn & 1 and fn:
            fn, sn = fn >> 1, sn >> 1
        yield each, is_left
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError("the path is too short", f"more than {len(path)} hashes", len(path))


def _middle(start: int, stop: int) -> int:
    """Where a range of more than one leaf is split: after the largest power of two that is less than its length."""
    return start + (1 << (stop - start - 1).bit_length() - 1)


def _subtrees(leaves: Range) -> Iterator[tuple[int, int]]:
    """(level, index) of the complete subtrees under a range, from left to right."""
    start, stop = leaves
    for level in range((stop - start).bit_length() - 1, -1, -1):
        if stop - start >> level & 1:
            at = start + (stop - start >> level + 1 << level + 1)
            yield level, at >> level


def _stored(level: int, index: int, every: int) -> Span:
    """The hashes of the nearest stored level from which the root of this subtree is computed."""
    below = level % every
    return Span(level - below, index << below, index + 1 << below)


def _spans(ranges: Iterable[Range], every: int = STORED_EVERY) -> list[Span]:
    """One hash between two spans, that of the way itself, is read along: it costs less than another question."""
    merged = list[Span]()
    for span in sorted(_stored(*subtree, every) for leaves in ranges for subtree in _subtrees(leaves)):
        if merged and merged[-1].level == span.level and span.start <= merged[-1].stop + 1:
            merged[-1] = merged[-1]._replace(stop=max(merged[-1].stop, span.stop))
        else:
            merged.append(span)
    return merged


def _over(leaves: Range, hashes: Hashes, every: int = STORED_EVERY) -> Frontier:
    """A range of leaves hangs together as a tree of its own."""
    return Frontier(leaves[1] - leaves[0], tuple(_computed(_stored(*subtree, every), hashes) for subtree in _subtrees(leaves)))


def _computed(span: Span, hashes: Hashes) -> bytes:
    try:
        row = [hashes[span.level, index] for index in range(span.start, span.stop)]
    except KeyError as missing:
        raise ProofError("a stored hash is missing", span, f"none at {missing}") from None
    while len(row) > 1:
        row = above(row)
    return row[0]


def _in_tree(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofError("no such leaf", f"an index from 0 and below {size}", index)


def _grown(old: int, new: int) -> None:
    if not 0 <= old <= new:
        raise ProofError("a tree only grows", f"an old size from 0 to {new}", old)


def _check(hashes: Iterable[bytes]) -> None:
    for each in hashes:
        if len(each) != HASH_BYTES:
            raise ProofError("a hash has another length", HASH_BYTES, len(each))


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
