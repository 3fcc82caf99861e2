"""Signatures at the edges of the arithmetic: what random ones would not meet in the life of the universe.

A signature is verified as u1 times the base point and u2 times the key, added. Whoever signs with a key of its own
chooses both, so that every edge of either multiplication, and of the addition, can be reached by an attacker.
"""

import random
from collections.abc import Iterator

from statements.signing import ORDER
from tests.unit.statements.verification.curve import Case, P, add, case, lift, recover, times_base

MOST = 2**256 - 1
SCALARS = [
    *(1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 127, 128, 129),
    *(ORDER - one for one in (1, 2, 3, 8, 16, 17, 128)),
    *(ORDER // 2, ORDER // 2 + 1, P % ORDER, P - ORDER, 2**256 % ORDER),
    *(2**bits for bits in (52, 64, 104, 128, 156, 192, 208, 224, 252, 255)),
    *(2**bits - 1 for bits in (52, 64, 104, 128, 156, 192, 208, 224, 252, 255)),
    *(2**bits + 1 for bits in (52, 64, 128, 192, 208, 252)),
    *(sum(1 << bit for bit in range(start, 254, 4)) for start in range(4)),
    *(sum(0xF << bit for bit in range(start, 252, 8)) for start in (0, 4)),
]


def edge_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Yield cases good and bad; every round draws other keys and numbers from the seed."""
    draw = random.Random(seed)
    for _ in range(rounds):
        yield from _chosen(draw)
        yield from _out_of_range(draw)
        yield from _wrapped(draw)
        yield from overlooked(draw, 60)


def _chosen(draw: random.Random) -> Iterator[Case]:
    """Yield signatures of chosen u1 and u2, under keys of chosen logarithms, and their neighbours."""
    for u1 in (0, *SCALARS):
        u2 = draw.choice([*SCALARS, draw.randrange(1, ORDER)])
        ratio = u1 * pow(u2, -1, ORDER) % ORDER
        for d, what in (
            (draw.randrange(1, ORDER), "a random key"),
            (draw.choice(SCALARS), "a special key"),
            (ratio, "both summands are one point"),
            (ORDER - ratio, "the sum is the point at infinity"),
            ((draw.choice(SCALARS) - u1) * pow(u2, -1, ORDER) % ORDER, "a special nonce"),
        ):
            yield from _neighbours(draw, u1, u2, d % ORDER, what)


def _neighbours(draw: random.Random, u1: int, u2: int, d: int, what: str) -> Iterator[Case]:
    point = times_base(d)
    if point is None:
        return
    nonce = times_base(u1 + u2 * d)
    r = draw.choice(SCALARS) if nonce is None else nonce[0] % ORDER
    s = r * pow(u2, -1, ORDER) % ORDER
    e = u1 * s % ORDER
    yield case(point, e, r, s, what)
    yield case(point, e, r, ORDER - s, f"{what}, the other s")
    if e + ORDER <= MOST:
        yield case(point, e + ORDER, r, s, f"{what}, a digest beyond the order")
    turned = (point[0], P - point[1])
    other = times_base(draw.randrange(1, ORDER))
    assert other is not None
    yield from (
        case(point, e ^ 1 << draw.randrange(256), r, s, "a bit of the digest"),
        case(point, e, r ^ 1 << draw.randrange(256), s, "a bit of r"),
        case(point, e, r, s ^ 1 << draw.randrange(256), "a bit of s"),
        case(point, e, s, r, "r and s changed about"),
        case(turned, e, r, s, "the key's negative"),
        case(other, e, r, s, "another key"),
        case(point, 0, r, s, "no digest"),
    )


def _out_of_range(draw: random.Random) -> Iterator[Case]:
    d, e = draw.randrange(1, ORDER), draw.getrandbits(256)
    point = times_base(d)
    assert point is not None
    good = draw.randrange(1, ORDER)
    edges = (0, 1, ORDER - 1, ORDER, ORDER + 1, P - ORDER, P - 1, P, MOST)
    for number in edges:
        yield case(point, e, number, good, "r at an edge")
        yield case(point, e, good, number, "s at an edge")
        yield case(point, number, good, draw.randrange(1, ORDER), "a digest at an edge")
        yield case(point, 0, number, number, "both at an edge")
    # Whatever the digest, were r = 0 taken: u2 is nothing, and any key will do.
    nonce = times_base(e)
    assert nonce is not None
    yield case(point, e, nonce[0] % ORDER, 1, "the key's part left out")
    yield case(point, e % ORDER, 0, 1, "r of nothing")


def _wrapped(draw: random.Random) -> Iterator[Case]:
    """Yield signatures whose nonce has an x that the group order does not hold, so that r is x less the order."""
    found = 0
    while found < 8:
        r = draw.choice([draw.randrange(1, 2**64), draw.randrange(1, P - ORDER)])
        s, e = draw.randrange(1, ORDER), draw.getrandbits(256)
        for x, what in ((r + ORDER, "x beyond the order"), (r, "x below, where another is beyond")):
            nonce = lift(x)
            key = None if nonce is None else recover(nonce, e, r, s)
            if key is None:
                continue
            found += 1
            yield case(key, e, r, s, what)
            yield case(key, e, x if x <= MOST else r, s, f"{what}, r as it is")
            yield case(key, e, (P - x) % ORDER, s, f"{what}, r of its negative")
            negative = add(None, (key[0], P - key[1]))
            assert negative is not None
            yield case(negative, e, r, s, f"{what}, the key's negative")


def overlooked(draw: random.Random, count: int) -> Iterator[Case]:
    """Yield false signatures that a library accepts if it takes the key times the order less 2 for nothing."""
    for _ in range(count):
        point, u1 = times_base(draw.randrange(1, ORDER)), draw.randrange(1, ORDER)
        assert point is not None
        for multiple in (u1, 2 * u1):
            nonce = times_base(multiple)
            assert nonce is not None
            r = nonce[0] % ORDER
            s = r * pow(ORDER - 2, -1, ORDER) % ORDER
            if s <= ORDER // 2:
                yield case(point, u1 * s % ORDER, r, s, "the key's part overlooked")
