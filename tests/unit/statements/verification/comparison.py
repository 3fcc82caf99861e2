"""Intel's crypto_mb held against ``cryptography``."""

from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from statements.signing import ORDER
from statements.verification.crypto_mb import LANES, CryptoMb
from tests.unit.statements.verification.curve import Case


def verifies(one: Case) -> bool:
    """Whether ``cryptography`` verifies it, whatever the size of s."""
    encoded = encode_dss_signature(*one.r_s)
    try:
        one.public.verify(encoded, one.digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


def accepted(backend: CryptoMb, cases: Sequence[Case]) -> list[bool]:
    """Whether the library says of each case that it is good, with no check of ours before it."""
    statuses = backend.statuses(
        [one.point for one in cases],
        [one.digest for one in cases],
        [one.signature for one in cases],
    )
    lanes = [not status >> 4 * lane & 0xF for _, status in statuses for lane in range(LANES)]
    return lanes[: len(cases)]


def compare(backend: CryptoMb, cases: Sequence[Case]) -> tuple[int, list[Case]]:
    """Refuse a false accept; return how many cases are good, and which good ones the library refuses."""
    good, refused = 0, []
    for one, taken in zip(cases, accepted(backend, cases), strict=True):
        right = verifies(one)
        r, s = one.r_s
        known = (r + 2 * s) % ORDER == 0  # the library's own fault: is_misjudged
        assert right or not taken or known, f"accepted, and is false: {one}"
        good += right
        if right and not taken:
            refused.append(one)
    return good, refused
