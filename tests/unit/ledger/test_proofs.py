"""Every true proof verifies, nothing else does, and a store answers with a few short reads."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import proofs
from ledger.proofs import ProofError, Range, Span
from ledger.tree import EMPTY, Frontier, leaf_hash, node_hash, root_of

from .test_tree import LEAVES, ROOTS, synthetic

MANY = 1300
SYNTHETIC = synthetic(MANY)
TEN_MILLION = 10_000_000
SIZES = st.integers(1, MANY)
# Paths that the implementations of certificate transparency share: (leaf, size, path) and (old, new, path).
_A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
_B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
_D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
_E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
_F = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
_G = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
_H = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
_I = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
_J = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
INCLUSION = [
    (0, 1, []),
    (0, 8, [_A, _B, _C]),
    (5, 8, [_D, _E, _F]),
    (2, 3, [_G]),
    (1, 5, [_H, _B, _D]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [_A, _B, _C]),
    (6, 8, [_I, _E, _F]),
    (2, 5, [_B, _D]),
    (6, 7, [_I, _J, _F]),
]


@cache
def mth(start: int, stop: int) -> bytes:
    """RFC 9162 2.1.1 over the synthetic leaves."""
    if stop - start == 1:
        return SYNTHETIC[start]
    middle = start + split(stop - start)
    return node_hash(mth(start, middle), mth(middle, stop))


def split(n: int) -> int:
    """The largest power of two less than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def path_of(m: int, start: int, stop: int) -> list[Range]:
    """PATH(m, D_n) of RFC 9162 2.1.3.1; the leaves are D[start:stop]."""
    if stop - start == 1:
        return []
    k = split(stop - start)
    if m < k:
        return [*path_of(m, start, start + k), (start + k, stop)]
    return [*path_of(m - k, start + k, stop), (start, start + k)]


def subproof(m: int, start: int, stop: int, known: bool) -> list[Range]:
    """SUBPROOF(m, D_n, b) of RFC 9162 2.1.4.1."""
    if m == stop - start:
        return [] if known else [(start, stop)]
    k = split(stop - start)
    if m <= k:
        return [*subproof(m, start, start + k, known), (start + k, stop)]
    return [*subproof(m - k, start + k, stop, False), (start, start + k)]


def stored(leaves: list[bytes]) -> dict[tuple[int, int], bytes]:
    """What a store has of a tree: the leaves, and the nodes of every fourth level."""
    nodes = Frontier().extended(leaves)[1]
    return {
        **{(0, index): each for index, each in enumerate(leaves)},
        **{(node.level, node.index): node.hash for node in nodes},
    }


STORED = stored(SYNTHETIC)


def read(spans: list[Span]) -> dict[tuple[int, int], bytes]:
    """Only what was asked for."""
    return {(span.level, index): STORED[span.level, index] for span in spans for index in range(span.start, span.stop)}


def included(index: int, size: int) -> list[bytes]:
    return proofs.inclusion_proof(index, size, read(proofs.inclusion_spans(index, size)))


def consistent(old: int, new: int) -> list[bytes]:
    return proofs.consistency_proof(old, new, read(proofs.consistency_spans(old, new)))


def refused(call: Callable[..., None], *arguments: object) -> bool:
    try:
        call(*arguments)
    except ProofError:
        return True
    return False


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_is_proved_by_the_paths_that_all_implementations_share(index: int, size: int, path: list[str]) -> None:
    expected = [bytes.fromhex(each) for each in path]
    leaves = [leaf_hash(leaf) for leaf in LEAVES]
    assert proofs.inclusion_proof(index, size, stored(leaves)) == expected
    proofs.verify_inclusion(leaves[index], index, size, expected, ROOTS[size])


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_is_proved_by_the_paths_that_all_implementations_share(old: int, new: int, path: list[str]) -> None:
    expected = [bytes.fromhex(each) for each in path]
    assert proofs.consistency_proof(old, new, stored([leaf_hash(leaf) for leaf in LEAVES])) == expected
    proofs.verify_consistency(old, new, ROOTS[old], ROOTS[new], expected)


def test_the_ranges_are_those_of_the_rfc_for_every_leaf_of_every_size_to_600() -> None:
    for size in range(1, 601):
        for index in range(size):
            assert proofs.inclusion_ranges(index, size) == path_of(index, 0, size)
            assert proofs.consistency_ranges(index + 1, size) == subproof(index + 1, 0, size, True)


@given(st.data(), st.integers(1, 2**48))
def test_the_ranges_are_those_of_the_rfc_for_big_trees(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert proofs.inclusion_ranges(index, size) == path_of(index, 0, size)
    assert proofs.consistency_ranges(index + 1, size) == subproof(index + 1, 0, size, True)


@pytest.mark.parametrize("sizes", [range(1, 70), (255, 256, 257), (511, 512, 513), (600,), (1023, 1024, 1300)], ids=str)
def test_proofs_built_from_the_spans_are_those_of_the_rfc(sizes: Iterator[int]) -> None:
    for size in sizes:
        for index in range(0, size, 1 if size < 300 else 7):
            assert included(index, size) == [mth(*each) for each in path_of(index, 0, size)]
            assert consistent(index + 1, size) == [mth(*each) for each in subproof(index + 1, 0, size, True)]


@given(st.data(), SIZES)
def test_a_proof_of_inclusion_verifies_and_nothing_that_differs_does(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root, path = SYNTHETIC[index], mth(0, size), included(index, size)
    proofs.verify_inclusion(leaf, index, size, path, root)
    verify = proofs.verify_inclusion
    assert refused(verify, altered(data, leaf), index, size, path, root)
    assert refused(verify, leaf, index, size, path, altered(data, root))
    assert refused(verify, leaf, index, size, [*path, root], root)
    assert refused(verify, leaf, data.draw(st.integers(-2, size + 2).filter(lambda other: other != index)), size, path, root)
    assert refused(verify, leaf, index, 2 * size + 1, path, root)
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        assert refused(verify, leaf, index, size, [*path[:place], altered(data, path[place]), *path[place + 1 :]], root)
        assert refused(verify, leaf, index, size, [*path[:place], *path[place + 1 :]], root)


@given(st.data(), SIZES)
def test_a_proof_of_consistency_verifies_and_nothing_that_differs_does(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new))
    old_root, new_root, path = mth(0, old), mth(0, new), consistent(old, new)
    proofs.verify_consistency(old, new, old_root, new_root, path)
    verify = proofs.verify_consistency
    assert refused(verify, old, new, altered(data, old_root), new_root, path)
    assert refused(verify, old, new, old_root, altered(data, new_root), path)
    assert refused(verify, old, new, old_root, new_root, [*path, new_root])
    assert old == new or refused(verify, new, old, new_root, old_root, path)
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        changed = [*path[:place], altered(data, path[place]), *path[place + 1 :]]
        assert refused(verify, old, new, old_root, new_root, changed)
        assert refused(verify, old, new, old_root, new_root, [*path[:place], *path[place + 1 :]])
        assert refused(verify, old, new, old_root, new_root, [])


def altered(data: st.DataObject, value: bytes) -> bytes:
    """One bit is another."""
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    return (int.from_bytes(value) ^ 1 << bit).to_bytes(len(value))


@pytest.mark.parametrize("new", [0, 1, 5])
def test_the_empty_tree_is_the_beginning_of_every_tree(new: int) -> None:
    root = root_of(SYNTHETIC[:new])
    assert consistent(0, new) == []
    proofs.verify_consistency(0, new, EMPTY, root, [])
    assert refused(proofs.verify_consistency, 0, new, bytes(32), root, [])
    assert refused(proofs.verify_consistency, 0, new, EMPTY, root, [root])


def test_the_empty_tree_has_one_root() -> None:
    assert refused(proofs.verify_consistency, 0, 0, bytes(32), bytes(32), [])
    assert refused(proofs.verify_consistency, 0, 0, EMPTY, bytes(32), [])


@given(SIZES | st.just(0))
def test_a_frontier_is_built_again_from_what_is_stored(size: int) -> None:
    assert proofs.frontier_at(size, read(proofs.frontier_spans(size))) == Frontier().extended(SYNTHETIC[:size])[0]


@given(st.integers(TEN_MILLION - 70_000, TEN_MILLION + 70_000), st.data())
def test_at_ten_million_leaves_a_proof_needs_few_short_reads(size: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, size - 1))
    for spans, most in (
        (proofs.inclusion_spans(at, size), 11),
        (proofs.consistency_spans(at + 1, size), 11),
        (proofs.frontier_spans(size), 6),
    ):
        assert len(spans) <= most
        assert all(span.level in (0, 4, 8, 12, 16, 20) and 0 < span.stop - span.start <= 32 for span in spans)


def test_what_a_proof_at_ten_million_reads_is_stored_already() -> None:
    for index in (0, 4_999_999, TEN_MILLION - 1):
        spans = [*proofs.inclusion_spans(index, TEN_MILLION), *proofs.consistency_spans(index + 1, TEN_MILLION)]
        assert all(span.stop << span.level <= TEN_MILLION for span in spans)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 5), (5, 5), (0, -1)])
def test_there_is_no_proof_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    for call in (proofs.inclusion_ranges, proofs.inclusion_spans):
        with pytest.raises(ProofError, match="no such leaf"):
            call(index, size)
    assert refused(proofs.verify_inclusion, bytes(32), index, size, [], bytes(32))


@pytest.mark.parametrize(("old", "new"), [(2, 1), (-1, 1), (0, -1)])
def test_there_is_no_proof_that_a_tree_shrank(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="only grows"):
        proofs.consistency_spans(old, new)


def test_a_hash_that_was_not_read_is_named() -> None:
    with pytest.raises(ProofError, match=r"missing: expected Span\(level=4, start=19, stop=20\)"):
        proofs.inclusion_proof(300, 400, {(0, index): each for index, each in enumerate(SYNTHETIC)})


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(64)])
def test_a_hash_of_another_length_proves_nothing(wrong: bytes) -> None:
    assert refused(proofs.verify_inclusion, wrong, 0, 1, [], wrong)
    assert refused(proofs.verify_inclusion, SYNTHETIC[0], 0, 2, [wrong], mth(0, 2))
    assert refused(proofs.verify_consistency, 1, 1, wrong, wrong, [])


def test_an_error_says_what_was_expected_and_what_was_found() -> None:
    with pytest.raises(ProofError, match=f"expected {bytes(32).hex()}, found {SYNTHETIC[0].hex()}") as raised:
        proofs.verify_inclusion(SYNTHETIC[0], 0, 1, [], bytes(32))
    assert (raised.value.expected, raised.value.found) == (bytes(32), SYNTHETIC[0])
