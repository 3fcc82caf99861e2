"""What a journal is: the durable sequence of records with their bodies, and the last checkpoint signed.

The journal is the truth of a log; everything that is served follows from it.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

Entry = tuple[bytes, bytes | None]
"""A record's bytes, and the stored body; ``None`` when it is not held."""
Leaf = tuple[bytes, bool]
"""A record's bytes, and whether its body is held."""


class Journal(Protocol):
    """One log's journal. One thread appends while others read.

    Every method raises :class:`JournalError` when the storage fails, or holds what was never written; then nothing of
    the call took effect, as far as the journal knows. ``size`` tells for certain.
    """

    def size(self) -> int:
        """Return how many records are durable."""
        ...

    def append(self, first: int, entries: Sequence[Entry]) -> None:
        """Make a group of records durable at the indices from ``first`` on, all or none.

        Raises :class:`ForkError` when the journal does not end at ``first``: somebody else writes to it.
        """
        ...

    def read(self, start: int, end: int) -> Iterator[Entry]:
        """Yield the entries [start, end); fewer when the journal ends before. No other body is read."""
        ...

    def leaves(self, start: int, end: int) -> Iterator[Leaf]:
        """Yield the records [start, end), their bodies unread; fewer when the journal ends before."""
        ...

    def signed(self) -> bytes | None:
        """Return the last checkpoint that was signed, ``None`` before any."""
        ...

    def sign(self, expected: bytes | None, note: bytes) -> None:
        """Remember ``note`` as the last checkpoint signed, durably, if ``expected`` was until now.

        Raises :class:`ForkError` when another was: somebody else signs for this log.
        """
        ...

    def close(self) -> None:
        """Let go of the storage."""
        ...
