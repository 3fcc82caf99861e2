"""Forks across logs: two headers for one place of a chain, wherever each was logged. Pure.

An author that told two ledgers different things, or one ledger that showed two histories, leaves no fork in either log.
The two headers prove it all the same, and prove it by themselves: neither log has to be believed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Statement
from statements.body import decode_body, verify_stored
from statements.errors import BodyError, SignatureError
from statements.header import Header, decode_header
from statements.kinds import Kind, parse_content
from statements.signing import VerifyingKey, verify_signature
from verifier.evidence.records import Records, read_records

_Chain = tuple[bytes, bytes, bytes]
"""Author, key, epoch."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a statement lies: the log or file, as somebody named it, and its index in the log."""

    source: str
    index: int


@dataclass(frozen=True, slots=True)
class SplitStatement:
    """One of two statements for one place of a chain; ``statement.stored`` is empty where its body is not held."""

    place: Place
    statement: Statement = field(repr=False)

    @property
    def header(self) -> Header:
        """The header."""
        return decode_header(self.statement.header)


@dataclass(frozen=True, slots=True)
class Split:
    """Two statements that one key signed for one place of its author's chain: the first such place of an epoch."""

    one: SplitStatement
    other: SplitStatement


@dataclass(frozen=True, slots=True)
class Source:
    """Records of a log with their bodies, ``None`` where one is not held; ``indices`` are their places in the log."""

    name: str
    indices: Sequence[int]
    leaves: Sequence[bytes] = field(repr=False)
    bodies: Sequence[bytes | None] = field(repr=False)


def find_splits(sources: Sequence[Source]) -> Iterator[Split]:
    """Yield a proof of each epoch in which some key signed two statements for one place, both signatures verified.

    A key is known by an opening that shows it, in any of the sources.
    """
    readings = [_Reading(source) for source in sources]
    keys: dict[bytes, VerifyingKey | None] = {}
    chains: dict[_Chain, list[_Reading]] = {}
    for reading in readings:
        for chain in reading.chains:
            chains.setdefault(chain, []).append(reading)
    for chain, found in chains.items():
        if len(found) == 1 and not found[0].is_split(chain):
            continue
        key_id = chain[1]
        if key_id not in keys:
            keys[key_id] = next(
                (key for reading in readings if (key := reading.shown(key_id)) is not None), None
            )
        split = _split(chain, found, keys[key_id])
        if split is not None:
            yield split


def _split(chain: _Chain, found: Sequence["_Reading"], key: VerifyingKey | None) -> Split | None:
    """Return the first place of a chain with two statements that its key signed."""
    if key is None:
        return None
    said: dict[int, dict[bytes, list[tuple[_Reading, int]]]] = {}
    for reading in found:
        for row in reading.chains[chain].tolist():
            place = said.setdefault(int(reading.records.sequence[row]), {})
            place.setdefault(reading.records.ids[row], []).append((reading, row))
    for _, place in sorted(said.items()):
        if len(place) < 2:
            continue
        signed = [one for copies in place.values() if (one := _signed(key, copies)) is not None]
        if len(signed) > 1:
            return Split(signed[0], signed[1])
    return None


def _signed(key: VerifyingKey, copies: Sequence[tuple["_Reading", int]]) -> SplitStatement | None:
    """Return the copy of a statement that its key signed, one with its body where there is one.

    A statement's id says nothing of its signature: another source's copy may bear a false one.
    """
    found: SplitStatement | None = None
    for reading, row in copies:
        try:
            verify_signature(key, reading.records.ids[row], reading.records.signature(row))
        except SignatureError:
            continue
        one = reading.statement(row)
        if one.statement.stored:
            return one
        found = found or one
    return found


class _Reading:
    """A source's records, by chain."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.records: Records = read_records(source.leaves)
        order = np.lexsort((self.records.sequence, self.records.chain))
        edges = np.flatnonzero(np.diff(self.records.chain[order], prepend=-1, append=-1))
        self.chains: Mapping[_Chain, np.ndarray[tuple[int], np.dtype[np.intp]]] = {
            self._chain(int(order[start])): order[start:end]
            for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        }

    def _chain(self, row: int) -> _Chain:
        text = self.records.text
        return text("author", row), text("key_id", row), text("epoch", row)

    def is_split(self, chain: _Chain) -> bool:
        """Whether two of a chain's records are for one place."""
        return bool((np.diff(self.records.sequence[self.chains[chain]]) == 0).any())

    @cached_property
    def _openings(self) -> Mapping[bytes, list[int]]:
        """The openings that a key signed, or is said to have, by its digest."""
        found: dict[bytes, list[int]] = {}
        for row in np.flatnonzero(self.records.kind == int(Kind.OPENING)).tolist():
            found.setdefault(self.records.text("key_id", row), []).append(row)
        return found

    def shown(self, key_id: bytes) -> VerifyingKey | None:
        """Return the key of that digest, if an opening here shows it."""
        shown = (self._opened(row) for row in self._openings.get(key_id, []))
        return next((key for key in shown if key is not None and key.key_id == key_id), None)

    def _opened(self, row: int) -> VerifyingKey | None:
        stored = self.statement(row).statement.stored
        try:
            verify_stored(stored, self.records.text("stored_digest", row))
            opening = parse_content(Kind.OPENING, decode_body(stored))
            assert isinstance(opening, identity_pb2.Opening)  # noqa: S101 - for the type checker
            return VerifyingKey.from_spki(opening.key)
        except (BodyError, SignatureError):
            return None

    def statement(self, row: int) -> SplitStatement:
        """Return a row as its author handed it to the log, with its body where that is held and its own."""
        at = int(self.records.index[row])
        stored = self._source.bodies[at] or b""
        header = self.records.header_bytes(row)
        return SplitStatement(
            Place(self._source.name, int(self._source.indices[at])),
            Statement(header, self.records.signature(row), stored),
        )
