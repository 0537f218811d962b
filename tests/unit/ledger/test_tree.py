"""The tree is that of RFC 6962, however it grows."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tree import EMPTY, Frontier, Node, leaf_hash, node_hash, root_of

# The inputs and roots that implementations of certificate transparency share; the first root is of no leaf at all.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
CHUNKS = st.lists(st.integers(0, 700), max_size=8)


def synthetic(count: int, start: int = 0) -> list[bytes]:
    """Leaf hashes that only their number tells apart."""
    return [leaf_hash(b"%d" % number) for number in range(start, start + count)]


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962 2.1, word by word."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + mth(hashes[:split]) + mth(hashes[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_that_all_implementations_share(size: int) -> None:
    assert root_of([leaf_hash(leaf) for leaf in LEAVES[:size]]) == ROOTS[size]


def test_the_empty_tree_has_the_hash_of_nothing_as_its_root() -> None:
    assert Frontier().root == EMPTY == sha256(b"").digest()


def test_a_leaf_is_never_taken_for_a_node() -> None:
    left, right = synthetic(2)
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"") == bytes.fromhex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")


def test_the_root_is_that_of_the_definition_for_all_small_sizes() -> None:
    leaves = synthetic(130)
    for size in range(131):
        assert root_of(leaves[:size]) == mth(leaves[:size])


@given(CHUNKS)
def test_a_tree_that_grows_in_chunks_is_the_tree_that_grew_at_once(chunks: list[int]) -> None:
    leaves = synthetic(sum(chunks))
    frontier, completed, at = Frontier(), list[Node](), 0
    for chunk in chunks:
        frontier, new = Frontier(frontier.size, frontier.nodes).extended(leaves[at : at + chunk])
        completed, at = completed + new, at + chunk
    whole, nodes = Frontier().extended(leaves)
    assert frontier == whole
    assert frontier.root == mth(leaves)
    assert sorted(completed) == sorted(nodes)


def test_the_subtrees_that_come_complete_are_those_of_16_256_4096_and_65536_leaves() -> None:
    leaves = synthetic(65_536 + 300)
    frontier, first = Frontier().extended(leaves[:65_535])
    _, then = frontier.extended(leaves[65_535:])
    complete = [(level, index) for level in (4, 8, 12) for index in range(65_535 >> level)]
    assert [(node.level, node.index) for node in first] == complete
    late = [*((4, index) for index in range(4095, 4114)), (8, 255), (8, 256), (12, 15), (16, 0)]
    assert [(node.level, node.index) for node in then] == late
    assert first[complete.index((8, 3))].hash == mth(leaves[768:1024])
    assert then[-1].hash == mth(leaves[:65_536])


def test_a_frontier_without_new_leaves_stays_as_it_is() -> None:
    frontier, _ = Frontier().extended(synthetic(7))
    assert frontier.extended([]) == (frontier, [])


@pytest.mark.parametrize(("size", "nodes"), [(-1, 0), (0, 1), (1, 0), (3, 1), (4, 2), (2**40, 0)])
def test_a_frontier_has_one_node_for_each_complete_subtree(size: int, nodes: int) -> None:
    with pytest.raises(ValueError, match="complete subtrees"):
        Frontier(size, tuple(synthetic(nodes)))


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_a_hash_of_another_length_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier(1, (wrong,))
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier().extended([bytes(32), wrong])
