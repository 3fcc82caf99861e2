"""Proofs against an independent tree that follows the recursive definition of RFC 6962 to the letter."""

import functools
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlog.errors import ProofError
from tlog.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_hash,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 2_000


def entry(index: int) -> bytes:
    return b"entry %d" % index


@functools.cache
def slow_root(start: int, end: int) -> bytes:
    """MTH(D[start:end]) of RFC 6962, 2.1."""
    count = end - start
    if count == 0:
        return hashlib.sha256(b"").digest()
    if count == 1:
        return hashlib.sha256(b"\x00" + entry(start)).digest()
    k = largest_power_below(count)
    return hashlib.sha256(
        b"\x01" + slow_root(start, start + k) + slow_root(start + k, end)
    ).digest()


def largest_power_below(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def slow_path(m: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[start:end]) of RFC 6962, 2.1.1."""
    count = end - start
    if count == 1:
        return []
    k = largest_power_below(count)
    if m < k:
        return [*slow_path(m, start, start + k), slow_root(start + k, end)]
    return [*slow_path(m - k, start + k, end), slow_root(start, start + k)]


def slow_consistency(m: int, start: int, end: int, *, whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[start:end], whole) of RFC 6962, 2.1.2."""
    count = end - start
    if m == count:
        return [] if whole else [slow_root(start, end)]
    k = largest_power_below(count)
    if m <= k:
        return [
            *slow_consistency(m, start, start + k, whole=whole),
            slow_root(start + k, end),
        ]
    return [
        *slow_consistency(m - k, start + k, end, whole=False),
        slow_root(start, start + k),
    ]


def subtrees(level: int, index: int) -> bytes:
    return slow_root(index << level, (index + 1) << level)


sizes = st.integers(1, LARGEST)


@given(st.integers(0, LARGEST))
def test_roots_are_those_of_the_definition(size: int) -> None:
    assert root_hash(size, subtrees) == slow_root(0, size)
    assert subtree_root([leaf_hash(entry(i)) for i in range(size)]) == slow_root(0, size)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert root_hash(0, subtrees) == EMPTY_ROOT == slow_root(0, 0)


@given(sizes, st.data())
def test_inclusion_proofs_are_those_of_the_definition_and_verify(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, subtrees)
    assert proof == slow_path(index, 0, size)
    verify_inclusion(index, size, leaf_hash(entry(index)), proof, slow_root(0, size))


@given(sizes, st.data())
def test_consistency_proofs_are_those_of_the_definition_and_verify(
    new: int, data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, new, subtrees)
    assert proof == slow_consistency(old, 0, new)
    verify_consistency(old, new, proof, slow_root(0, old), slow_root(0, new))


def test_every_proof_of_every_small_tree_verifies() -> None:
    for size in range(1, 66):
        for index in range(size):
            proof = inclusion_proof(index, size, subtrees)
            verify_inclusion(index, size, leaf_hash(entry(index)), proof, slow_root(0, size))
            verify_consistency(
                index + 1,
                size,
                consistency_proof(index + 1, size, subtrees),
                slow_root(0, index + 1),
                slow_root(0, size),
            )


def flipped(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8 % len(value)] ^= 1 << bit % 8
    return bytes(changed)


@given(st.integers(2, LARGEST), st.data())
def test_any_flipped_bit_of_an_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, subtrees)
    bit = data.draw(st.integers(0, 255))
    place = data.draw(st.integers(0, len(proof) - 1))
    leaf, root = leaf_hash(entry(index)), slow_root(0, size)
    changed = [*proof[:place], flipped(proof[place], bit), *proof[place + 1 :]]
    with pytest.raises(ProofError):
        verify_inclusion(index, size, leaf, changed, root)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, flipped(leaf, bit), proof, root)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, leaf, proof, flipped(root, bit))


@given(st.integers(2, LARGEST), st.data())
def test_any_flipped_bit_of_a_consistency_proof_is_refused(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_proof(old, new, subtrees)
    bit = data.draw(st.integers(0, 255))
    place = data.draw(st.integers(0, len(proof) - 1))
    old_root, new_root = slow_root(0, old), slow_root(0, new)
    changed = [*proof[:place], flipped(proof[place], bit), *proof[place + 1 :]]
    with pytest.raises(ProofError):
        verify_consistency(old, new, changed, old_root, new_root)
    with pytest.raises(ProofError):
        verify_consistency(old, new, proof, flipped(old_root, bit), new_root)
    with pytest.raises(ProofError):
        verify_consistency(old, new, proof, old_root, flipped(new_root, bit))


@given(sizes, st.data())
def test_a_leaf_does_not_verify_at_another_index(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size + 3).filter(lambda at: at != index))
    with pytest.raises(ProofError):
        verify_inclusion(
            other,
            size,
            leaf_hash(entry(index)),
            inclusion_proof(index, size, subtrees),
            slow_root(0, size),
        )


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 3), (0, 0)])
def test_no_consistency_is_shown_from_nothing_or_backwards(old: int, new: int) -> None:
    with pytest.raises(ProofError) as caught:
        verify_consistency(old, new, [], bytes(32), bytes(32))
    assert caught.value.reason == "OUT_OF_RANGE"
    with pytest.raises(ProofError):
        consistency_proof(old, new, subtrees)


def test_there_is_no_leaf_outside_the_tree() -> None:
    for index in (-1, 5):
        with pytest.raises(ProofError):
            inclusion_proof(index, 5, subtrees)


def test_hashes_of_another_length_are_refused() -> None:
    root = slow_root(0, 2)
    with pytest.raises(ProofError) as caught:
        verify_inclusion(0, 2, leaf_hash(entry(0)), [b"short"], root)
    assert caught.value.reason == "HASH_LENGTH"


def test_a_tree_needs_no_proof_that_it_extends_itself() -> None:
    root = slow_root(0, 7)
    verify_consistency(7, 7, [], root, root)
    with pytest.raises(ProofError):
        verify_consistency(7, 7, [root], root, root)
    with pytest.raises(ProofError):
        verify_consistency(7, 7, [], root, slow_root(0, 6))
