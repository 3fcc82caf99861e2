"""P-256 in whole numbers, slowly: keys and signatures that nobody would meet by chance.

Source: SEC 1, 4.1; SEC 2, 2.4.2.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from statements.signing import ORDER

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
Point = tuple[int, int] | None
"""Affine; ``None`` is the point at infinity."""


@dataclass(frozen=True)
class Case:
    """A point as backends take it, a digest, a signature, and what is special about them."""

    point: bytes
    digest: bytes
    signature: bytes
    what: str

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        x, y = (int.from_bytes(half, "little") for half in (self.point[:32], self.point[32:]))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()

    @property
    def r_s(self) -> tuple[int, int]:
        return int.from_bytes(self.signature[:32], "big"), int.from_bytes(
            self.signature[32:], "big"
        )


def case(point: tuple[int, int], e: int, r: int, s: int, what: str) -> Case:
    x, y = (one.to_bytes(32, "little") for one in point)
    return Case(x + y, e.to_bytes(32, "big"), r.to_bytes(32, "big") + s.to_bytes(32, "big"), what)


def times_base(k: int) -> Point:
    """Return k times the base point."""
    if k % ORDER == 0:
        return None
    numbers = ec.derive_private_key(k % ORDER, ec.SECP256R1()).public_key().public_numbers()
    return numbers.x, numbers.y


def add(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (
        (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    )
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def times(k: int, point: Point) -> Point:
    result: Point = None
    for bit in f"{k % ORDER:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def lift(x: int) -> tuple[int, int] | None:
    """Return a point of that x, if the curve has one."""
    square = (x**3 - 3 * x + B) % P
    y = pow(square, (P + 1) // 4, P)
    return (x, y) if y * y % P == square else None


def recover(nonce: Point, e: int, r: int, s: int) -> Point:
    """Return the key under which the signature (r, s) of e comes out at that nonce's point."""
    return times(pow(r, -1, ORDER), add(times(s, nonce), times_base(-e)))
