"""One proof for several leaves: it leads to the root, has one spelling, and serves no other leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlog.errors import ProofError
from tlog.merkle import leaf_hash, root_hash, subtree_root
from tlog.selection import selection_proof, verify_selection

LEAVES = [leaf_hash(bytes([n])) for n in range(40)]


def subtrees(level: int, index: int) -> bytes:
    width = 1 << level
    chosen = LEAVES[index * width : (index + 1) * width]
    assert len(chosen) == width, "only complete subtrees are asked for"
    return subtree_root(chosen)


@st.composite
def selections(draw: st.DrawFn) -> tuple[list[int], int]:
    size = draw(st.integers(1, len(LEAVES)))
    return sorted(draw(st.sets(st.integers(0, size - 1), min_size=1))), size


def prove(indices: list[int], size: int) -> tuple[list[bytes], list[bytes], bytes]:
    return (
        [LEAVES[at] for at in indices],
        selection_proof(indices, size, subtrees),
        root_hash(size, subtrees),
    )


@given(selections())
def test_any_selection_is_proved(chosen: tuple[list[int], int]) -> None:
    indices, size = chosen
    leaves, proof, root = prove(indices, size)
    verify_selection(indices, size, leaves, proof, root)


@given(selections(), st.data())
def test_another_leaf_hash_or_root_is_refused(
    chosen: tuple[list[int], int], data: st.DataObject
) -> None:
    indices, size = chosen
    leaves, proof, root = prove(indices, size)
    everything = [*leaves, *proof, root]
    at = data.draw(st.integers(0, len(everything) - 1))
    everything[at] = bytes(32)
    cut = len(leaves)
    with pytest.raises(ProofError) as refused:
        verify_selection(indices, size, everything[:cut], everything[cut:-1], everything[-1])
    assert refused.value.reason == "ROOT_MISMATCH"


@given(selections(), st.data())
def test_leaves_are_proved_where_they_are_and_nowhere_else(
    chosen: tuple[list[int], int], data: st.DataObject
) -> None:
    indices, size = chosen
    leaves, proof, root = prove(indices, size)
    others = data.draw(
        st.sets(st.integers(0, size - 1), min_size=len(indices), max_size=len(indices))
    )
    if sorted(others) != indices:
        with pytest.raises(ProofError):
            verify_selection(sorted(others), size, leaves, proof, root)


@given(selections())
def test_a_proof_has_no_hash_too_many_and_none_too_few(chosen: tuple[list[int], int]) -> None:
    indices, size = chosen
    leaves, proof, root = prove(indices, size)
    for other in ([*proof, bytes(32)], proof[:-1] if proof else [bytes(32)]):
        with pytest.raises(ProofError) as refused:
            verify_selection(indices, size, leaves, other, root)
        assert refused.value.reason == "PROOF_LENGTH"


@pytest.mark.parametrize(
    ("indices", "size"), [([], 4), ([4], 4), ([-1], 4), ([2, 1], 4), ([1, 1], 4), ([0], 2**63)]
)
def test_what_is_no_selection_of_a_tree_is_refused(indices: list[int], size: int) -> None:
    with pytest.raises(ProofError) as refused:
        verify_selection(indices, size, [bytes(32)] * len(indices), [], bytes(32))
    assert refused.value.reason == "OUT_OF_RANGE"


def test_everything_needs_no_hash() -> None:
    assert selection_proof(list(range(40)), 40, subtrees) == []


def test_a_hash_of_another_length_is_refused() -> None:
    leaves, proof, root = prove([3], 9)
    with pytest.raises(ProofError) as refused:
        verify_selection([3], 9, leaves, [proof[0][:31], *proof[1:]], root)
    assert refused.value.reason == "HASH_LENGTH"
