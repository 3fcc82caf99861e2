"""What a backend is: whoever vouches for many signatures at once."""

from collections.abc import Sequence
from typing import Protocol


class Backend(Protocol):
    """A way of verifying ECDSA P-256 signatures in batches."""

    @property
    def name(self) -> str:
        """The library that does it, as people know it."""
        ...

    def vouch(
        self, points: Sequence[bytes], digests: Sequence[bytes], signatures: Sequence[bytes]
    ) -> Sequence[int]:
        """Return the positions of signatures that verify for certain; all others are then verified singly.

        A *point* is a public key that is on the curve: x and y, 32 bytes each, little-endian. Digests have 32 bytes.
        Signatures are r and s, 32 bytes each, big-endian, with r from 1 to the group order less 1, and s from 1 to half
        of it. The three sequences have one length.
        """
        ...
