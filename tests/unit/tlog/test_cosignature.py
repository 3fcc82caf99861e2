import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tlog.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from tlog.cosignature import (
    Algorithm,
    Cosigner,
    CosigningKey,
    verify_cosignature,
    verify_cosignatures,
)
from tlog.errors import NoteError
from tlog.note import Note, SignatureLine, Signer, Verifier, encode_base64, parse_note

ORIGIN = "log.example/one"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
CHECKPOINT = Checkpoint(ORIGIN, 7, b"r" * 32)
ED = CosigningKey("w.example/ed", Ed25519PrivateKey.from_private_bytes(b"e" * 32))
ML = CosigningKey("w.example/ml", MLDSA44PrivateKey.from_seed_bytes(b"m" * 32))
KEYS = [ED, ML]
NOON = 1_780_315_200


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_verifies_under_its_vkey_and_tells_its_time(key: CosigningKey) -> None:
    line = key.cosign(CHECKPOINT.text, NOON)
    assert verify_cosignature(line, CHECKPOINT.text, Cosigner.from_vkey(key.vkey)) == NOON


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "ml-dsa-44"])
def test_a_cosigned_checkpoint_is_still_the_logs(key: CosigningKey) -> None:
    note = parse_note(sign_checkpoint(CHECKPOINT, SIGNER))
    whole = Note(note.text, (*note.signatures, key.cosign(note.text, NOON))).encode()
    log = Verifier.from_vkey(SIGNER.vkey)
    assert verify_checkpoint(whole, ORIGIN, log) == CHECKPOINT
    cosigner = Cosigner.from_vkey(key.vkey)
    assert verify_cosignatures(parse_note(whole), [cosigner]) == {cosigner: NOON}


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "ml-dsa-44"])
@given(data=st.data())
def test_any_flipped_bit_of_a_cosignature_is_refused(
    key: CosigningKey, data: st.DataObject
) -> None:
    line = key.cosign(CHECKPOINT.text, NOON)
    whole = bytearray(line.signature)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    flipped = SignatureLine(line.name, line.key_id, bytes(whole))
    with pytest.raises(NoteError) as caught:
        verify_cosignature(flipped, CHECKPOINT.text, Cosigner.from_vkey(key.vkey))
    assert caught.value.reason == "BAD_SIGNATURE"


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_is_of_one_tree_and_one_name(key: CosigningKey) -> None:
    line = key.cosign(CHECKPOINT.text, NOON)
    cosigner = Cosigner.from_vkey(key.vkey)
    for other in (Checkpoint(ORIGIN, 8, b"r" * 32), Checkpoint("log.example/two", 7, b"r" * 32)):
        with pytest.raises(NoteError):
            verify_cosignature(line, other.text, cosigner)
    renamed = CosigningKey("other.example", key.private)
    with pytest.raises(NoteError, match="not of other"):
        verify_cosignature(line, CHECKPOINT.text, Cosigner.from_vkey(renamed.vkey))


def test_unknown_cosigners_are_ignored_and_a_second_cosignature_is_refused() -> None:
    note = SIGNER.sign(CHECKPOINT.text)
    one = ED.cosign(note.text, NOON)
    both = Note(note.text, (*note.signatures, one, ML.cosign(note.text, NOON)))
    ed = Cosigner.from_vkey(ED.vkey)
    assert verify_cosignatures(both, [ed]) == {ed: NOON}
    twice = Note(note.text, (*note.signatures, one, ED.cosign(note.text, NOON + 1)))
    with pytest.raises(NoteError, match="twice"):
        verify_cosignatures(twice, [ed])


def test_ed25519_signs_what_the_specification_spells_out() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    line = ED.cosign(text, 1679315147)
    assert line.signature[:8] == (1679315147).to_bytes(8, "big")
    ED.private.public_key().verify(
        line.signature[8:], b"cosignature/v1\ntime 1679315147\n" + text.encode()
    )


def test_ml_dsa_signs_the_structure_that_the_specification_lays_down() -> None:
    line = ML.cosign(CHECKPOINT.text, NOON)
    name, origin = ML.name.encode(), ORIGIN.encode()
    message = (
        b"subtree/v1\n\0"
        + bytes([len(name)]) + name + NOON.to_bytes(8, "big")
        + bytes([len(origin)]) + origin + bytes(8) + (7).to_bytes(8, "big") + b"r" * 32
    )  # fmt: skip
    ML.private.public_key().verify(line.signature[8:], message)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "w.example",
        SIGNER.vkey,
        ED.vkey[:-4] + "AAA=",
        ED.vkey.replace("w.example", "v.example"),
        "w+00000000+" + encode_base64(bytes([Algorithm.ML_DSA_44]) + bytes(32)),
        "w+00000000+",
    ],
)
def test_what_is_no_key_of_a_cosigner_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        Cosigner.from_vkey(vkey)


@pytest.mark.parametrize("time_s", [0, -1, 2**63])
def test_no_cosignature_names_a_time_that_is_none(time_s: int) -> None:
    with pytest.raises(NoteError):
        ED.cosign(CHECKPOINT.text, time_s)
