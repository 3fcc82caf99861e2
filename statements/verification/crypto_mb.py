"""Intel's crypto_mb, which verifies eight signatures at once, on processors with AVX-512 IFMA.

The library is in the wheel ``ipp-crypto`` (the extra ``fast``). It is used where it says that the processor is one of
its own, and where it tells right from wrong signatures in each of its eight lanes when it is loaded. What it refuses,
for whatever reason, is verified again by ``cryptography``, which has the last word. What it accepts is accepted, but
for signatures with r = -2s modulo the group order: of those it takes false ones for right
(docs/adr/0014-eight-signatures-at-once.md).

Source: ``crypto_mb/ec_nistp256.h``, ``crypto_mb/status.h`` and ``crypto_mb/cpu_features.h`` of
https://github.com/intel/cryptography-primitives; RFC 6979, A.2.5.
"""

import ctypes
import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from statements.errors import BackendError
from statements.verification.shared_object import load_library, read_installed

WHEEL: Final = "ipp-crypto"
LIBRARY: Final = "libcrypto_mb.so"
LANES: Final = 8

_HALF: Final = 32
_POINTER: Final = 8
_STATUS_BITS: Final = 4
_STATUS: Final = 0xF
_ALL_GOOD: Final = 0
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_AVX_IFMA: Final = 1 << 40
"""A processor with IFMA for half as many lanes: the code for it is another, which nobody here could test."""

_Verify = Callable[[int, int, int, int, int, None, None], int]
"""Takes arrays of eight pointers each: r, s, digests, x, y. Returns four bits a lane, of which zero says good."""

_POINT: Final = (
    bytes.fromhex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6")[::-1]
    + bytes.fromhex("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299")[::-1]
)
_SAMPLE: Final = bytes.fromhex(
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
)
_TEST: Final = bytes.fromhex(
    "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367"
    "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"
)


@dataclass(frozen=True, slots=True)
class CryptoMb:
    """See :class:`statements.verification.interface.Backend`."""

    _verify: _Verify = field(repr=False)
    name: str = "crypto_mb"

    def vouch(
        self, points: Sequence[bytes], digests: Sequence[bytes], signatures: Sequence[bytes]
    ) -> Sequence[int]:
        """See :class:`Backend`. One that is left over beyond full calls costs less by itself."""
        count = len(signatures) - (len(signatures) % LANES == 1)
        vouched: list[int] = []
        for at, status in self.statuses(points[:count], digests[:count], signatures[:count]):
            lanes = range(LANES) if status == _ALL_GOOD else _good_lanes(status)
            vouched += [at + lane for lane in lanes if at + lane < count]
        misjudged = {at for at, one in enumerate(signatures) if is_misjudged(one)}
        return [at for at in vouched if at not in misjudged] if misjudged else vouched

    def statuses(
        self, points: Sequence[bytes], digests: Sequence[bytes], signatures: Sequence[bytes]
    ) -> Sequence[tuple[int, int]]:
        """Return for each eight positions the first of them, and what the library says of them.

        Lanes that are left over hold the last signature once more.
        """
        count = len(signatures)
        keys, said, signed = b"".join(points), b"".join(digests), b"".join(signatures)
        tables = (
            _table(signed, 2 * _HALF, count),
            _table(signed, 2 * _HALF, count, _HALF),
            _table(said, _HALF, count),
            _table(keys, 2 * _HALF, count),
            _table(keys, 2 * _HALF, count, _HALF),
        )
        r, s, digest, x, y = (table.buffer_info()[0] for table in tables)
        verify = self._verify
        return [
            (
                lane // _POINTER,
                verify(r + lane, s + lane, digest + lane, x + lane, y + lane, None, None),
            )
            for lane in range(0, count * _POINTER, LANES * _POINTER)
        ]


def is_misjudged(signature: bytes) -> bool:
    """Return whether a signature, its s in the lower half, is of those of which the library takes false ones for right.

    They are those for which the key is multiplied by the group order less 2. The last addition of that is then a
    doubling, which the library overlooks for some keys in a hundred; the key drops out of what it computes.
    """
    if signature[31] + 2 * signature[63] & 0xFF != _ORDER & 0xFF:  # nearly all end here
        return False
    r, s = signature[:32], signature[32:]
    return int.from_bytes(r, "big") + 2 * int.from_bytes(s, "big") == _ORDER


def _table(data: bytes, step: int, count: int, offset: int = 0) -> "array[int]":
    """Return the addresses of so many parts of data, and of the last again until they are a multiple of eight."""
    if len(data) != step * count:
        raise ValueError(f"{count} times {step} bytes were expected, not {len(data)}")
    begin = (ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0) + offset
    table = array("Q", range(begin, begin + step * count, step))
    table.extend(table[-1:] * (-count % LANES))
    return table


def load() -> CryptoMb:
    """Return the backend; raises :class:`BackendError` that says why it cannot be used here."""
    library = load_library(read_installed(WHEEL, LIBRARY), LIBRARY)
    try:
        features = library.mbx_get_cpu_features
        is_applicable = library.mbx_is_crypto_mb_applicable
        verify = library.mbx_nistp256_ecdsa_verify_mb8
    except AttributeError as error:
        raise BackendError("NOT_LOADED", f"{LIBRARY} is of another version: {error}") from None
    features.argtypes, features.restype = [], ctypes.c_uint64
    is_applicable.argtypes, is_applicable.restype = [ctypes.c_uint64], ctypes.c_int
    verify.argtypes, verify.restype = [ctypes.c_void_p] * 7, ctypes.c_uint32
    if not is_applicable(features() & ~_AVX_IFMA):
        raise BackendError("NO_SUCH_PROCESSOR", "the processor has no AVX-512 IFMA")
    backend = CryptoMb(verify)
    verify_backend(backend)
    return backend


def verify_backend(backend: CryptoMb) -> None:
    """Refuse a library that does not tell right from wrong: :class:`BackendError`.

    Each lane is tried with a wrong signature among right ones, and with a right one among wrong ones.
    """
    sample, test = (hashlib.sha256(said).digest() for said in (b"sample", b"test"))
    for tried in range(LANES):
        for others in (False, True):
            right = [(lane == tried) != others for lane in range(LANES)]
            digests = [test if lane % 2 else sample for lane in range(LANES)]
            signatures = [
                _TEST if (digest is test) == wanted else _SAMPLE
                for digest, wanted in zip(digests, right, strict=True)
            ]
            [(_, status)] = backend.statuses([_POINT] * LANES, digests, signatures)
            if [lane in _good_lanes(status) for lane in range(LANES)] != right:
                raise BackendError("WRONG_ANSWERS", f"{LIBRARY} does not verify as it should here")


def _good_lanes(status: int) -> list[int]:
    return [lane for lane in range(LANES) if not status >> lane * _STATUS_BITS & _STATUS]
