import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tlog.checkpoint import Checkpoint
from tlog.cosignature import CosigningKey
from tlog.errors import PolicyError, ProofError, TlogError
from tlog.merkle import inclusion_proof, leaf_hash, root_hash, subtree_root
from tlog.note import Note, Signer, Verifier
from tlog.policy import parse_policy
from tlog.proof import LogProof, parse_proof, verify_proof

SIGNER = Signer("log.example/one", Ed25519PrivateKey.from_private_bytes(b"l" * 32))
LOG = Verifier.from_vkey(SIGNER.vkey)
WITNESS = CosigningKey("w.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
POLICY = parse_policy(f"witness w {WITNESS.vkey}\nquorum w\n")
ENTRIES = [bytes([n]) * n for n in range(13)]


def subtrees(level: int, index: int) -> bytes:
    return subtree_root(
        [leaf_hash(entry) for entry in ENTRIES[index << level : (index + 1) << level]]
    )


def proof(index: int, *, cosign: bool = True, extra: bytes | None = None) -> LogProof:
    size = len(ENTRIES)
    note = SIGNER.sign(Checkpoint(SIGNER.name, size, root_hash(size, subtrees)).text)
    lines = (*note.signatures, WITNESS.cosign(note.text, 9)) if cosign else note.signatures
    hashes = tuple(inclusion_proof(index, size, subtrees))
    return LogProof(index, hashes, Note(note.text, lines).encode(), extra)


@given(st.integers(0, len(ENTRIES) - 1), st.none() | st.binary(max_size=40))
def test_a_proof_survives_its_bytes_and_shows_its_entry(index: int, extra: bytes | None) -> None:
    made = proof(index, extra=extra)
    read = parse_proof(made.encode())
    assert read == made
    checkpoint, quorum = verify_proof(read, ENTRIES[index], LOG, POLICY)
    assert (checkpoint.size, quorum.times_s) == (len(ENTRIES), {"w": 9})


def test_another_entry_or_index_is_refused() -> None:
    with pytest.raises(ProofError):
        verify_proof(proof(3), ENTRIES[4], LOG, POLICY)
    with pytest.raises(ProofError):
        verify_proof(LogProof(4, proof(3).hashes, proof(3).note), ENTRIES[3], LOG, POLICY)


def test_a_proof_that_no_quorum_cosigned_is_refused() -> None:
    with pytest.raises(PolicyError):
        verify_proof(proof(3, cosign=False), ENTRIES[3], LOG, POLICY)


@given(st.data())
def test_any_flipped_bit_of_a_proof_is_refused(data: st.DataObject) -> None:
    whole = bytearray(proof(5).encode())
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TlogError):
        verify_proof(parse_proof(bytes(whole)), ENTRIES[5], LOG, POLICY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nx",
        b"c2sp.org/tlog-proof@v1\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\nx",
        b"c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 1\nAAAA",
        b"\xff\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\n" + bytes(1 << 20),
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(ProofError) as caught:
        parse_proof(data)
    assert caught.value.reason == "BAD_PROOF_FILE"
