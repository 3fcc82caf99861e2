"""Which backend is used, and what happens to what it does not vouch for."""

from collections.abc import Sequence

import pytest

from statements import signing
from statements.errors import BackendError
from statements.signing import SigningKey, verify_batch
from statements.verification import crypto_mb, registry
from statements.verification.registry import Choice, choose
from statements.verification.singly import Singly

KEY = SigningKey.generate()
DIGESTS = [bytes([at]) * 32 for at in range(5)]
SIGNATURES = [KEY.sign(digest) for digest in DIGESTS]


class Asked:
    """A backend that vouches for some positions of what it is asked, and remembers what that was."""

    name = "asked"

    def __init__(self, *vouched: int) -> None:
        self.vouched = vouched
        self.asked: list[tuple[bytes, bytes, bytes]] = []

    def vouch(
        self, points: Sequence[bytes], digests: Sequence[bytes], signatures: Sequence[bytes]
    ) -> Sequence[int]:
        self.asked += zip(points, digests, signatures, strict=True)
        return self.vouched


def fails(monkeypatch: pytest.MonkeyPatch, backend: Asked, signatures: Sequence[bytes]) -> set[int]:
    monkeypatch.setattr(registry, "chosen", lambda: Choice(backend, ""))
    return set(verify_batch([KEY.verifying_key()] * len(DIGESTS), DIGESTS, signatures))


def test_a_backend_is_asked_only_for_what_has_the_form_of_a_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    high = (signing.ORDER - 1).to_bytes(32, "big")
    signatures = [b"", SIGNATURES[1], SIGNATURES[2][:32] + high, bytes(64), SIGNATURES[4]]
    backend = Asked(0, 1)
    assert fails(monkeypatch, backend, signatures) == {0, 2, 3}
    point = KEY.verifying_key().point
    assert backend.asked == [(point, DIGESTS[at], SIGNATURES[at]) for at in (1, 4)]


def test_what_a_backend_does_not_vouch_for_is_verified_singly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swapped = [SIGNATURES[1], SIGNATURES[0], *SIGNATURES[2:]]
    assert fails(monkeypatch, Asked(), swapped) == {0, 1}
    assert fails(monkeypatch, Asked(3, 4), swapped) == {0, 1}
    assert fails(monkeypatch, Asked(), SIGNATURES) == set()


def test_a_batch_of_unequal_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="one key and one digest"):
        verify_batch([KEY.verifying_key()], DIGESTS[:1], SIGNATURES[:2])


def test_a_point_is_the_keys_x_and_y_little_endian() -> None:
    numbers = KEY.private.public_key().public_numbers()
    expected = numbers.x.to_bytes(32, "little") + numbers.y.to_bytes(32, "little")
    assert KEY.verifying_key().point == expected
    assert signing.VerifyingKey.from_spki(KEY.spki).point == expected


def test_without_the_library_signatures_are_verified_singly_and_it_is_said_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crypto_mb, "WHEEL", "no-such-wheel")
    choice = choose(None)
    assert isinstance(choice.backend, Singly)
    assert choice.passed_over == "no crypto_mb: no-such-wheel is not installed"
    with pytest.raises(BackendError) as refused:
        choose("crypto_mb")
    assert refused.value.reason == "NOT_INSTALLED"


def test_the_environment_names_a_backend_and_no_other_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(registry.SETTING, "cryptography")
    registry.chosen.cache_clear()
    try:
        assert registry.chosen().backend.name == "cryptography"
    finally:
        registry.chosen.cache_clear()


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(BackendError, match="crypto_mb, cryptography, not 'magic'"):
        choose("magic")
