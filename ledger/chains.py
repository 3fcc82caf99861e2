"""The chains as logged: where each author's epochs stand, and which record holds each place.

Order is enforced within an epoch only. Of every record one index is kept (8 bytes), so that a statement that comes
again is found by its place, and compared with what the place holds.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from statements.header import SEQUENCE, SPEAKER, Header, decode_header, encode_header


@dataclass(slots=True)
class Epoch:
    """One epoch of an author: the index in the log of every sequence, the id of the newest statement, and the key.

    ``proof`` is the index of a second statement for one of its places, once that was handed over.
    """

    indices: "array[int]"
    head: bytes
    key_id: bytes
    proof: int | None = None

    def back(self, head: bytes) -> None:
        """Take the newest statement back; ``head`` is the id of the one before."""
        self.indices.pop()
        self.head = head

    def holds(self, header: Header) -> bool:
        """Whether some statement holds a header's place."""
        return header.sequence < len(self.indices)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest logged statement of an epoch."""

    epoch: bytes
    sequence: int
    statement_id: bytes
    index: int


class Chains:
    """All chains of a log. One thread changes and reads them."""

    def __init__(self) -> None:
        self._authors: dict[bytes, dict[bytes, Epoch]] = {}
        self._going: dict[bytes, Epoch] = {}

    def epoch(self, author: bytes, epoch: bytes) -> Epoch | None:
        """Return an epoch, ``None`` when nothing of it is logged."""
        epochs = self._authors.get(author)
        return None if epochs is None else epochs.get(epoch)

    def going(self, header: bytes) -> Epoch | None:
        """Return the epoch that a header speaks in, if one of its kind, key and author did before: see :meth:`goes`."""
        return self._going.get(header[SPEAKER])

    def goes(self, header: bytes, author: bytes, epoch: bytes) -> None:
        """Remember, until :meth:`pop`, that statements such as this one do nothing but go on in their epoch."""
        self._going[header[SPEAKER]] = self._authors[author][epoch]

    def claimed(self, headers: Iterable[bytes]) -> Iterator[int]:
        """Yield the indices of records that hold places which these headers claim again, and those of proofs there."""
        for header in headers:
            chain = self.going(header)
            if chain is None:
                decoded = decode_header(header)
                chain = self.epoch(decoded.author, decoded.epoch)
            if chain is not None:
                sequence = int.from_bytes(header[SEQUENCE], "little")
                if sequence < len(chain.indices):
                    yield chain.indices[sequence]
                    if chain.proof is not None:
                        yield chain.proof

    def heads(self, author: bytes, most: int) -> list[Head]:
        """Return the heads of the epochs that an author opened last, at most so many, oldest first."""
        newest = islice(reversed(self._authors.get(author, {}).items()), most)
        return [
            Head(epoch, len(chain.indices) - 1, chain.head, chain.indices[-1])
            for epoch, chain in newest
        ][::-1]

    def push(self, header: Header, index: int, statement_id: bytes) -> None:
        """Log the next statement of an epoch."""
        chain = self.epoch(header.author, header.epoch)
        if chain is None:
            chain = Epoch(array("Q"), statement_id, header.key_id)
            self._authors.setdefault(header.author, {})[header.epoch] = chain
        chain.indices.append(index)
        chain.head = statement_id

    def contest(self, header: Header, index: int) -> None:
        """Log a second statement for a place of an epoch; the chain goes on without it."""
        self._authors[header.author][header.epoch].proof = index

    def uncontest(self, header: Header) -> None:
        """Take a second statement back."""
        self._authors[header.author][header.epoch].proof = None

    def pop(self, header: Header) -> None:
        """Take the newest statement of an epoch back."""
        epochs = self._authors[header.author]
        chain = epochs[header.epoch]
        chain.back(header.previous)
        self._going.pop(encode_header(header)[SPEAKER], None)
        if not chain.indices:
            del epochs[header.epoch]
