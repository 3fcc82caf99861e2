"""Proofs out of published files."""

import pytest

from ledger.errors import ObjectError
from ledger.proofs import Prover
from ledger.publisher import Publisher
from tests.unit.ledger.cast import Cast, FailingJournal, FailingStore, entries
from tlog.errors import ProofError, TileError
from tlog.merkle import leaf_hash, subtree_root, verify_consistency, verify_inclusion

EVERYTHING = entries(700, size=1)
HASHES = [leaf_hash(record) for record, _ in EVERYTHING]


@pytest.fixture
def publisher(cast: Cast, journal: FailingJournal, store: FailingStore) -> Publisher:
    journal.append(0, EVERYTHING[:600])
    made = Publisher(journal, store, cast.signer)
    made.open()
    made.publish()
    return made


SIZES = [1, 2, 255, 256, 257, 511, 512, 599, 600]


def test_every_record_is_proven_in_every_tree_that_was(
    publisher: Publisher, store: FailingStore
) -> None:
    prover = Prover(store, 600)
    for size in SIZES:
        root = subtree_root(HASHES[:size])
        for index in {0, size // 2, size - 1}:
            proof = prover.inclusion(index, size)
            verify_inclusion(index, size, HASHES[index], proof, root)


def test_every_tree_is_proven_to_extend_every_smaller_one(
    publisher: Publisher, store: FailingStore
) -> None:
    prover = Prover(store, 600)
    for new in SIZES:
        for old in (size for size in SIZES if size <= new):
            proof = prover.consistency(old, new)
            verify_consistency(
                old, new, proof, subtree_root(HASHES[:old]), subtree_root(HASHES[:new])
            )


def test_what_is_not_in_the_tree_is_not_proven(publisher: Publisher, store: FailingStore) -> None:
    prover = Prover(store, 600)
    for index, size in ((600, 600), (5, 5), (0, 0)):
        with pytest.raises(ProofError):
            prover.inclusion(index, size)
    with pytest.raises(ProofError):
        prover.consistency(0, 600)


def test_a_tree_is_proven_after_its_partial_tiles_became_full_and_went(
    publisher: Publisher, journal: FailingJournal, store: FailingStore
) -> None:
    before = Prover(store, 600)
    journal.append(600, EVERYTHING[600:] + entries(100, seed=5))
    publisher.publish()
    assert store.get("tile/0/002.p/88") is None
    proof = before.inclusion(599, 600)
    verify_inclusion(599, 600, HASHES[599], proof, subtree_root(HASHES[:600]))


def test_a_tile_that_is_missing_or_cut_is_told(publisher: Publisher, store: FailingStore) -> None:
    store.put({"tile/0/001": b"cut"})
    with pytest.raises(TileError):
        Prover(store, 600).inclusion(300, 600)
    store.discard(["tile/0"])
    with pytest.raises(ObjectError, match="run fsck") as failed:
        Prover(store, 600).inclusion(0, 600)
    assert failed.value.reason == "TILE_MISSING"
