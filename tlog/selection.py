"""One proof that several leaves are in a tree: the complete subtrees without any of them, in order. Pure.

The tree of RFC 6962 is walked from its root, left before right. A complete subtree that holds none of the chosen leaves
is a hash of the proof; every other one is computed from its halves. So a proof has one spelling, no hash too many, and
needs far fewer than a path for each leaf.
"""

import bisect
import itertools
from collections.abc import Callable, Sequence

from tlog.errors import ProofError
from tlog.merkle import HASH_LENGTH, Subtrees, node_hash

LARGEST_SIZE = 2**63 - 1


def selection_proof(indices: Sequence[int], size: int, subtrees: Subtrees) -> list[bytes]:
    """Return the hashes that lead from the leaves at ``indices``, ascending, to the root of the tree of ``size``.

    Raises :class:`ProofError` when the indices are not ascending, none, or beyond the tree.
    """
    hashes: list[bytes] = []

    def take(level: int, index: int) -> bytes:
        hashes.append(subtrees(level, index))
        return hashes[-1]

    _check_indices(indices, size)
    _walk(indices, size, lambda position: subtrees(0, indices[position]), take)
    return hashes


def verify_selection(
    indices: Sequence[int],
    size: int,
    leaves: Sequence[bytes],
    proof: Sequence[bytes],
    root: bytes,
) -> None:
    """Refuse a proof that leaves with the hashes ``leaves`` are at ``indices``, ascending, in the tree with that root.

    Raises :class:`ProofError`.
    """
    _check_indices(indices, size)
    if len(leaves) != len(indices) or any(len(one) != HASH_LENGTH for one in (*leaves, *proof)):
        raise ProofError("HASH_LENGTH", f"each leaf has one hash of {HASH_LENGTH} bytes")
    rest = iter(proof)

    def take(level: int, index: int) -> bytes:  # noqa: ARG001 - the proof has them in order
        found = next(rest, None)
        if found is None:
            raise ProofError("PROOF_LENGTH", f"the proof has only {len(proof)} hashes")
        return found

    computed = _walk(indices, size, lambda position: leaves[position], take)
    if next(rest, None) is not None:
        raise ProofError("PROOF_LENGTH", f"the proof has more hashes than it needs: {len(proof)}")
    if computed != root:
        raise ProofError("ROOT_MISMATCH", f"the proof of {len(indices)} leaves leads elsewhere")


def _check_indices(indices: Sequence[int], size: int) -> None:
    ascending = all(one < other for one, other in itertools.pairwise(indices))
    if not indices or not ascending or indices[0] < 0 or not indices[-1] < size <= LARGEST_SIZE:
        raise ProofError(
            "OUT_OF_RANGE", f"the leaves are not some of a tree of {size}, each once and in order"
        )


def _walk(
    indices: Sequence[int],
    size: int,
    leaf: Callable[[int], bytes],
    take: Callable[[int, int], bytes],
) -> bytes:
    """Return the root: ``leaf`` gives the hash of a chosen leaf by its position, ``take`` that of a subtree without."""

    def hashed(start: int, end: int) -> bytes:
        width = end - start
        first = bisect.bisect_left(indices, start)
        if width & (width - 1) == 0:
            if first == len(indices) or indices[first] >= end:
                level = width.bit_length() - 1
                return take(level, start >> level)
            if width == 1:
                return leaf(first)
        middle = start + (1 << (width - 1).bit_length() - 1)
        left = hashed(start, middle)
        return node_hash(left, hashed(middle, end))

    return hashed(0, size)
