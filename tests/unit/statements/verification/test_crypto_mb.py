"""Intel's crypto_mb against ``cryptography``: whatever the one vouches for, the other verifies."""

import itertools
import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization

from statements.errors import BackendError, SignatureError
from statements.signing import ORDER, SigningKey, VerifyingKey, verify_batch, verify_signature
from statements.verification import crypto_mb as module
from statements.verification import registry
from statements.verification.crypto_mb import LANES, CryptoMb, is_misjudged, load, verify_backend
from tests.unit.statements.verification.comparison import compare, verifies
from tests.unit.statements.verification.curve import Case
from tests.unit.statements.verification.edge_cases import edge_cases, overlooked

Mixed = tuple[list[bytes], list[bytes], list[bytes]]


@pytest.fixture(scope="module")
def crypto_mb() -> CryptoMb:
    try:
        return load()
    except BackendError as error:
        pytest.skip(f"crypto_mb cannot be used here: {error}")


def spki(one: Case) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return one.public.public_bytes(serialization.Encoding.DER, form)


def test_no_edge_case_is_accepted_that_cryptography_refuses(crypto_mb: CryptoMb) -> None:
    cases = list(edge_cases(1, 1))
    random.Random(1).shuffle(cases)
    good, refused = compare(crypto_mb, cases)
    assert 500 < good < len(cases) - 500
    # What is refused falsely, and therefore verified again, nobody meets who does not look for it.
    for one in refused:
        number = int.from_bytes(one.digest, "big")
        assert number == 0 or number >= ORDER or one.what.startswith("both summands"), one


def test_what_the_library_is_known_to_misjudge_is_never_vouched_for(
    crypto_mb: CryptoMb, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, crypto_mb)
    cases = list(overlooked(random.Random(4), 300))
    assert not any(map(verifies, cases))
    points, digests, signatures = (
        [getattr(one, part) for one in cases] for part in ("point", "digest", "signature")
    )
    assert all(map(is_misjudged, signatures))
    assert not crypto_mb.vouch(points, digests, signatures)
    keys = [VerifyingKey.from_spki(spki(one)) for one in cases]
    failures = verify_batch(keys, digests, signatures)
    assert {error.reason for error in failures.values()} == {"BAD_SIGNATURE"}
    assert len(failures) == len(cases)


def test_hardly_any_signature_is_thought_to_be_misjudged() -> None:
    assert not any(is_misjudged(signature) for _, _, signature in signed(2_000, 6))


def signed(count: int, seed: int) -> list[tuple[SigningKey, bytes, bytes]]:
    draw = random.Random(seed)
    keys = [SigningKey.generate() for _ in range(5)]
    digests = [draw.randbytes(32) for _ in range(count)]
    return [(keys[at % 5], one, keys[at % 5].sign(one)) for at, one in enumerate(digests)]


def mixed(wrong: Sequence[bool]) -> Mixed:
    """Return signatures by several keys, of which those ``wrong`` are another's, another digest's, or torn."""
    points, digests, signatures = [], [], []
    for at, ((key, digest, signature), bad) in enumerate(
        zip(signed(len(wrong), 3), wrong, strict=True)
    ):
        other = SigningKey.generate()
        kind = at % 3 if bad else None
        points.append((other if kind == 0 else key).verifying_key().point)
        digests.append(bytes(32) if kind == 1 else digest)
        signatures.append(other.sign(digest) if kind == 2 else signature)
    return points, digests, signatures


def test_each_pattern_of_right_and_wrong_in_eight_lanes_is_told_apart(crypto_mb: CryptoMb) -> None:
    for wrong in itertools.product([False, True], repeat=LANES):
        vouched = crypto_mb.vouch(*mixed(wrong))
        assert vouched == [at for at, bad in enumerate(wrong) if not bad]


@pytest.mark.parametrize("count", range(1, 18))
def test_a_batch_of_any_size_has_its_one_wrong_signature_found(
    crypto_mb: CryptoMb, count: int
) -> None:
    lone = count - 1 if count % LANES == 1 else None  # verified by itself
    for bad in range(count):
        vouched = crypto_mb.vouch(*mixed([at == bad for at in range(count)]))
        assert vouched == [at for at in range(count) if at not in (bad, lone)]


def test_an_empty_batch_is_nothing_to_vouch_for(crypto_mb: CryptoMb) -> None:
    assert not crypto_mb.vouch([], [], [])


@pytest.mark.parametrize("at", range(3))
def test_parts_of_another_length_are_refused_and_not_read_across(
    crypto_mb: CryptoMb, at: int
) -> None:
    parts = mixed([False] * 8)
    parts[at][3] += b"\0"
    with pytest.raises(ValueError, match="bytes were expected"):
        crypto_mb.vouch(*parts)


def test_reasons_are_those_of_verifying_singly(
    crypto_mb: CryptoMb, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, crypto_mb)
    said = signed(64, 5)
    keys = [key.verifying_key() for key, _, _ in said]
    digests = [digest for _, digest, _ in said]
    signatures = [signature for _, _, signature in said]
    spoilt = {
        1: b"",
        8: bytes(64),
        9: signatures[9][:32] + (ORDER - 1).to_bytes(32, "big"),
        17: signatures[18],
        31: signatures[31] + b"\0",
        40: ORDER.to_bytes(32, "big") + signatures[40][32:],
        63: signatures[63][:32] + (1).to_bytes(32, "big"),
    }
    for at, signature in spoilt.items():
        signatures[at] = signature
    failures = verify_batch(keys, digests, signatures)
    assert set(failures) == set(spoilt)
    for at, error in failures.items():
        with pytest.raises(SignatureError) as singly:
            verify_signature(keys[at], digests[at], signatures[at])
        assert (error.reason, str(error)) == (singly.value.reason, str(singly.value))


def use(monkeypatch: pytest.MonkeyPatch, backend: CryptoMb) -> None:
    monkeypatch.setattr(registry, "chosen", lambda: registry.Choice(backend, ""))


@pytest.mark.parametrize("answer", [0, 0x88888888, 0x00000008, 0x80000000, 0x08080808])
def test_a_library_that_does_not_tell_right_from_wrong_is_not_used(answer: int) -> None:
    with pytest.raises(BackendError, match="does not verify as it should"):
        verify_backend(CryptoMb(lambda *_: answer))


class Call:
    """A function of a library, as ctypes has them."""

    argtypes: object = None
    restype: object = None

    def __init__(self, answer: Callable[..., int]) -> None:
        self.answer = answer

    def __call__(self, *arguments: int) -> int:
        return self.answer(*arguments)


def library(processor: int) -> SimpleNamespace:
    """Return a library that says what Intel's does of a processor with such features, and that verifies nothing."""
    eight, four = 0xA303100000, 0x10000028220

    def is_applicable(features: int) -> int:
        return int(features & eight == eight or features & four == four)

    return SimpleNamespace(
        mbx_get_cpu_features=Call(lambda: processor),
        mbx_is_crypto_mb_applicable=Call(is_applicable),
        mbx_nistp256_ecdsa_verify_mb8=Call(lambda *_: pytest.fail("it was called")),
    )


@pytest.mark.parametrize(
    "processor",
    [0x8000000200, 0xA303100000 & ~(1 << 32), 0xA303100000 & ~(1 << 33), 0x10000028220],
    ids=["old", "no IFMA", "not enabled by the system", "IFMA for four lanes alone"],
)
def test_the_library_is_not_called_on_a_processor_that_is_not_its_own(
    monkeypatch: pytest.MonkeyPatch, processor: int
) -> None:
    monkeypatch.setattr(module, "read_installed", lambda *_: b"")
    monkeypatch.setattr(module, "load_library", lambda *_: library(processor))
    with pytest.raises(BackendError) as refused:
        load()
    assert refused.value.reason == "NO_SUCH_PROCESSOR"


def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_installed", lambda *_: b"")
    monkeypatch.setattr(module, "load_library", lambda *_: SimpleNamespace())
    with pytest.raises(BackendError, match="of another version"):
        load()
