import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from statements.errors import SignatureError
from statements.signing import (
    HEADER_TYPE,
    ORDER,
    SigningKey,
    VerifyingKey,
    pae,
    statement_id,
    verify_batch,
    verify_signature,
)

KEY = SigningKey.generate()
DIGEST = hashlib.sha256(b"a statement").digest()
SIGNATURE = KEY.sign(DIGEST)


def reason(key: VerifyingKey, digest: bytes, signature: bytes) -> str:
    with pytest.raises(SignatureError) as caught:
        verify_signature(key, digest, signature)
    return caught.value.reason


def test_the_pre_authentication_encoding_is_that_of_dsse() -> None:
    header = bytes(302)
    expected = f"DSSEv1 {len(HEADER_TYPE)} {HEADER_TYPE} 302 ".encode() + header
    assert pae(header) == expected
    assert statement_id(header) == hashlib.sha256(expected).digest()


@given(st.binary(min_size=32, max_size=32))
def test_what_a_key_signs_it_verifies_with_a_low_s(digest: bytes) -> None:
    signature = KEY.sign(digest)
    assert int.from_bytes(signature[32:], "big") <= ORDER // 2
    verify_signature(KEY.verifying_key(), digest, signature)


@given(st.integers(0, 511))
def test_any_flipped_bit_of_a_signature_is_refused(bit: int) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[bit // 8] ^= 1 << bit % 8
    assert reason(KEY.verifying_key(), DIGEST, bytes(flipped)) in {
        "BAD_SIGNATURE",
        "HIGH_S",
        "MALFORMED_SIGNATURE",
    }


def test_the_malleated_twin_of_a_signature_is_refused() -> None:
    s = int.from_bytes(SIGNATURE[32:], "big")
    twin = SIGNATURE[:32] + (ORDER - s).to_bytes(32, "big")
    assert reason(KEY.verifying_key(), DIGEST, twin) == "HIGH_S"


@pytest.mark.parametrize("scalar", [0, ORDER, 2**256 - 1])
def test_scalars_outside_the_group_are_refused(scalar: int) -> None:
    outside = scalar.to_bytes(32, "big")
    key = KEY.verifying_key()
    assert reason(key, DIGEST, outside + SIGNATURE[32:]) == "MALFORMED_SIGNATURE"
    assert reason(key, DIGEST, SIGNATURE[:32] + outside) == "MALFORMED_SIGNATURE"


@pytest.mark.parametrize("length", [0, 63, 65, 72])
def test_signatures_of_another_length_are_refused(length: int) -> None:
    assert reason(KEY.verifying_key(), DIGEST, bytes(length)) == "MALFORMED_SIGNATURE"


def test_another_key_is_refused() -> None:
    assert reason(SigningKey.generate().verifying_key(), DIGEST, SIGNATURE) == "BAD_SIGNATURE"


def test_a_batch_names_the_positions_that_fail_and_why() -> None:
    key = KEY.verifying_key()
    bad = SIGNATURE[:63] + bytes([SIGNATURE[63] ^ 1])
    failures = verify_batch([key] * 3, [DIGEST] * 3, [SIGNATURE, bad, b""])
    assert {at: error.reason for at, error in failures.items()} == {
        1: "BAD_SIGNATURE",
        2: "MALFORMED_SIGNATURE",
    }


def spki(
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey, *, compressed: bool
) -> bytes:
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if not compressed:
        return der
    assert isinstance(public, ec.EllipticCurvePublicKey)
    point = public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    return bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"not a key",
        spki(ed25519.Ed25519PrivateKey.generate().public_key(), compressed=False),
        spki(ec.generate_private_key(ec.SECP384R1()).public_key(), compressed=False),
        spki(ec.generate_private_key(ec.SECP256R1()).public_key(), compressed=True),
        KEY.spki + b"\0",
        # SPKI of an algorithm that nobody has, and of a named curve that nobody has.
        bytes.fromhex("300c300506032a03040303000102"),
        bytes.fromhex("3015300e06072a8648ce3d020106032a03040303000102"),
    ],
    ids=[
        "empty",
        "noise",
        "ed25519",
        "p384",
        "compressed",
        "trailing",
        "unknown algorithm",
        "unknown curve",
    ],
)
def test_only_the_one_encoding_of_a_p256_key_is_a_key(der: bytes) -> None:
    with pytest.raises(SignatureError) as caught:
        VerifyingKey.from_spki(der)
    assert caught.value.reason == "BAD_KEY"


def test_a_key_is_named_by_the_digest_of_its_public_half() -> None:
    key = VerifyingKey.from_spki(KEY.spki)
    assert key.key_id == KEY.key_id == hashlib.sha256(KEY.spki).digest()


def test_a_private_key_of_another_curve_is_refused() -> None:
    with pytest.raises(SignatureError):
        SigningKey.from_private(ec.generate_private_key(ec.SECP384R1()))
