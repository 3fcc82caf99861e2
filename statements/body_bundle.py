"""Body bundles: stored bodies as static files, aligned with a log's entry bundles.

``bodies/<N>`` holds the stored bodies of the records of ``tile/entries/<N>``, in order, each after its length as a
big-endian uint32; the length 2^32-1 says that the ledger does not hold that body. A bundle needs no trust: each body is
checked against the digest in its record's header.
"""

from collections.abc import Sequence

from statements.body import BODY_LIMIT
from statements.errors import BodyError

FOLDER = "bodies"
_NOT_HELD = 2**32 - 1


def encode_body_bundle(bodies: Sequence[bytes | None]) -> bytes:
    """Return the bundle of those stored bodies; ``None`` where one is not held."""
    return b"".join(
        _NOT_HELD.to_bytes(4, "big") if body is None else len(body).to_bytes(4, "big") + body
        for body in bodies
    )


def decode_body_bundle(data: bytes, width: int) -> list[bytes | None]:
    """Return the ``width`` stored bodies of a bundle, ``None`` where one is not held.

    Raises :class:`BodyError` when the bundle is cut short, holds more or fewer, or a body over 1 MiB.
    """
    bodies: list[bytes | None] = []
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if length == _NOT_HELD and at <= len(data):
            bodies.append(None)
            continue
        if length > BODY_LIMIT or at + length > len(data):
            raise BodyError("BUNDLE_CUT", f"the bundle is cut short in body {len(bodies)}")
        bodies.append(data[at : at + length])
        at += length
    if len(bodies) != width:
        raise BodyError("BUNDLE_WIDTH", f"the bundle holds {len(bodies)} bodies, not {width}")
    return bodies
