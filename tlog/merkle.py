"""The Merkle tree of RFC 6962, section 2.1: hashes, proofs, and their verification.

Proofs are made from complete subtrees, named by level and index: subtree (l, i) spans the leaves
[i·2^l, (i+1)·2^l). Verification follows RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from tlog.errors import ProofError

HASH_LENGTH = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the tree without leaves."""

Subtrees = Callable[[int, int], bytes]
"""Returns the hash of a complete subtree, given its level and index."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over hashes of equal subtrees, of which there may be any number.

    Used for whole trees (over leaf hashes) and for tiles (over a power of two of hashes).
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        odd = [level[-1]] if len(level) % 2 else []
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


def root_hash(size: int, subtrees: Subtrees) -> bytes:
    """Return the root of the tree of the first ``size`` leaves."""
    return _range_hash(0, size, subtrees)


def inclusion_proof(index: int, size: int, subtrees: Subtrees) -> list[bytes]:
    """Return the audit path of a leaf, leaf side first.

    Raises :class:`ProofError` when the index is not below the size.
    """
    if not 0 <= index < size:
        raise ProofError("OUT_OF_RANGE", f"there is no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, subtrees))
            end = middle
        else:
            path.append(_range_hash(start, middle, subtrees))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtrees: Subtrees) -> list[bytes]:
    """Return the proof that the tree of ``new`` leaves extends that of ``old``.

    Raises :class:`ProofError` unless 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ProofError("OUT_OF_RANGE", f"no proof leads from size {old} to size {new}")
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(middle, end, subtrees))
            end = middle
        else:
            path.append(_range_hash(start, middle, subtrees))
            start, whole = middle, False
    if not whole:
        path.append(_range_hash(start, end, subtrees))
    return path[::-1]


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Refuse a proof that the leaf with hash ``leaf`` is at ``index`` in the tree with that root.

    Raises :class:`ProofError`.
    """
    if not 0 <= index < size:
        raise ProofError("OUT_OF_RANGE", f"there is no leaf {index} in a tree of {size}")
    _check_hashes([leaf, root, *proof])
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise ProofError(
            "PROOF_LENGTH", f"the proof has {len(proof)} hashes, {inner + border} are needed"
        )
    computed = _climb_inner(leaf, proof[:inner], index)
    for sibling in proof[inner:]:
        computed = node_hash(sibling, computed)
    if computed != root:
        raise ProofError("ROOT_MISMATCH", f"the proof of leaf {index} leads to another root")


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Refuse a proof that the tree of ``new`` leaves extends that of ``old``.

    Nothing can be shown about the tree of size 0: it is refused. Raises :class:`ProofError`.
    """
    if not 0 < old <= new:
        raise ProofError("OUT_OF_RANGE", f"no proof leads from size {old} to size {new}")
    if old == new:
        if proof:
            raise ProofError("PROOF_LENGTH", "a tree needs no proof that it extends itself")
        if old_root != new_root:
            raise ProofError("ROOT_MISMATCH", f"two roots are claimed for size {old}")
        return
    _check_hashes([old_root, new_root, *proof])
    shift = (old & -old).bit_length() - 1
    inner = ((old - 1) ^ (new - 1)).bit_length() - shift
    border = ((old - 1) >> (inner + shift)).bit_count()
    seeded = old != 1 << shift
    if len(proof) != inner + border + seeded:
        needed = inner + border + seeded
        raise ProofError("PROOF_LENGTH", f"the proof has {len(proof)} hashes, {needed} are needed")
    seed, rest = (proof[0], proof[1:]) if seeded else (old_root, proof)
    mask = (old - 1) >> shift
    from_old = _climb_right(seed, rest[:inner], mask)
    from_new = _climb_inner(seed, rest[:inner], mask)
    for sibling in rest[inner:]:
        from_old = node_hash(sibling, from_old)
        from_new = node_hash(sibling, from_new)
    if from_old != old_root:
        raise ProofError("ROOT_MISMATCH", f"the proof does not start from the root of size {old}")
    if from_new != new_root:
        raise ProofError("ROOT_MISMATCH", f"the proof does not lead to the root of size {new}")


def _climb_inner(seed: bytes, path: Iterable[bytes], index: int) -> bytes:
    for level, sibling in enumerate(path):
        seed = node_hash(sibling, seed) if index >> level & 1 else node_hash(seed, sibling)
    return seed


def _climb_right(seed: bytes, path: Iterable[bytes], index: int) -> bytes:
    for level, sibling in enumerate(path):
        if index >> level & 1:
            seed = node_hash(sibling, seed)
    return seed


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_LENGTH for value in hashes):
        raise ProofError("HASH_LENGTH", f"every hash has {HASH_LENGTH} bytes")


def _split(size: int) -> int:
    """Return the largest power of two below ``size``, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _range_hash(start: int, end: int, subtrees: Subtrees) -> bytes:
    """Return the hash over leaves [start, end), where start is a multiple of the span's subtrees."""
    if start == end:
        return EMPTY_ROOT
    parts: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        parts.append(subtrees(level, start >> level))
        start += 1 << level
    computed = parts.pop()
    while parts:
        computed = node_hash(parts.pop(), computed)
    return computed
