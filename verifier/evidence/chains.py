"""Chains: who said what in which order, and on whose signature that rests.

Each header commits to the one before, so that one valid signature on the last header of an (author, key, epoch)
authenticates the summaries before it. That holds only where the chain is unbroken: sequences 0, 1, 2, … and each
``previous`` the id of the header before. A chain that is not, or whose last signature fails, is verified header by
header; what is not signed is dropped, so that a log cannot put words into anybody's chain.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from statements.kinds import Kind
from statements.signing import VerifyingKey, verify_batch
from verifier.evidence.records import Bools, Int64, Records
from verifier.mirror.prefix import LogPrefix

FOREVER: Final = 2**62
"""No log holds so many records."""


class Contradiction(Enum):
    """How two headers that one key signed contradict each other."""

    SAME_PLACE = "two headers for one place of the chain"
    OTHER_PAST = "a header that follows another than the one logged before it"
    SUPERSEDED = "a header of an epoch whose successor the author had already seen in the log"


@dataclass(frozen=True, slots=True)
class Fork:
    """Equivocation: two rows, both validly signed, that no honest author says both; the earlier logged first."""

    author: bytes
    rows: tuple[int, int]
    what: Contradiction


@dataclass(frozen=True, slots=True)
class ChainGap:
    """Statements that were said and are not in the log: at least ``missing`` of them, before the row.

    Before an opening that is the statement which it names as the author's newest.
    """

    author: bytes
    row: int
    missing: int


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """What the chains of a log show.

    ``authentic`` says of each row whether its author said it, there, in the branch that was logged first.
    ``forged`` are rows whose signature is not their author's; ``strangers`` those of keys that nobody made live;
    ``ended`` those that were logged after their key was rotated away or revoked; ``repeated`` those that repeat a row
    before: four things that an honest ledger does not log. ``epochs`` counts each author's openings.
    """

    authentic: Bools
    forks: tuple[Fork, ...]
    gaps: tuple[ChainGap, ...]
    forged: tuple[int, ...]
    strangers: tuple[int, ...]
    ended: tuple[int, ...]
    repeated: tuple[int, ...]
    epochs: Mapping[bytes, int]


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A key that may speak, for whom, and between which indices of the log.

    What it says counts after ``from_index`` (-1: from the start) and up to ``until_index``, at which it was rotated
    away or revoked.
    """

    key: VerifyingKey
    author: bytes
    from_index: int
    until_index: int = FOREVER


def follow_chains(
    records: Records, keys: Mapping[bytes, LiveKey], verified: Bools, prefix: LogPrefix
) -> Chains:
    """Return what the chains of a log show.

    ``keys`` are by their digests. ``verified`` says which rows' signatures were verified singly: of every row that is
    not a summary it is the answer, of summaries it is ignored. ``prefix`` is the log whose records these are.
    """
    return _Follower(records, keys, verified, prefix).run()


class _Follower:
    """The moving parts of one pass over the chains."""

    def __init__(
        self, records: Records, keys: Mapping[bytes, LiveKey], verified: Bools, prefix: LogPrefix
    ) -> None:
        self.records = records
        self.keys = keys
        self.prefix = prefix
        self.summary: Bools = records.kind == int(Kind.SUMMARY)
        self.signed: Bools = verified & ~self.summary
        self.authentic: Bools = np.zeros(len(records), dtype=np.bool_)
        self.forks: list[Fork] = []
        self.gaps: list[ChainGap] = []
        self.forged: list[int] = []
        self.strangers: list[int] = []
        self.ended: list[int] = []
        self.repeated: list[int] = []

    def run(self) -> Chains:
        records = self.records
        order = _in_chains(records)
        edges = np.flatnonzero(np.diff(records.chain[order], prepend=-1, append=-1))
        broken = self._broken(order, edges)
        tails: list[tuple[int, Int64]] = []
        openings: dict[bytes, list[int]] = {}
        for start, end, unbroken in zip(
            edges[:-1].tolist(), edges[1:].tolist(), (~broken).tolist(), strict=True
        ):
            author = records.text("author", int(order[start]))
            rows = self._lived(order[start:end], author)
            if not len(rows):
                continue
            openings.setdefault(author, []).append(int(rows[0]))
            if unbroken and len(rows) == end - start:
                tails.append((int(rows[-1]), rows))
            else:
                self._walk(rows, author)
        self._authenticate(tails)
        named = self._named_by(openings)
        self._find_rolled_back(named)
        self._find_superseded(named)
        wrong = set(self.forged) | set(self.strangers)
        return Chains(
            authentic=self.authentic,
            forks=tuple(sorted(self.forks, key=lambda fork: fork.rows)),
            gaps=tuple(sorted(self.gaps, key=lambda gap: gap.row)),
            forged=tuple(sorted(set(self.forged))),
            strangers=tuple(sorted(self.strangers)),
            ended=tuple(sorted(self.ended)),
            repeated=tuple(sorted(self.repeated)),
            epochs={
                author: len([row for row in rows if row not in wrong])
                for author, rows in openings.items()
            },
        )

    def _lived(self, rows: Int64, author: bytes) -> Int64:
        """Return the rows that were logged while their key was the author's, and live."""
        live = self.keys.get(self.records.text("key_id", int(rows[0])))
        if live is None or live.author != author:
            self.strangers += rows.tolist()
            return rows[:0]
        index = self.records.index[rows]
        early, late = index <= live.from_index, index > live.until_index
        self.strangers += rows[early].tolist()
        self.ended += rows[late].tolist()
        return rows[~(early | late)]

    def _broken(self, order: Int64, edges: Int64) -> Bools:
        """Return which chains are not 0, 1, 2, … each after the one before."""
        records = self.records
        if not len(order):
            return np.zeros(0, dtype=np.bool_)
        place = np.arange(len(order)) - np.repeat(edges[:-1], np.diff(edges))
        wrong: Bools = records.sequence[order] != place
        previous = np.ascontiguousarray(records.table["previous"][order]).view("<u8").reshape(-1, 4)
        ids = records.ids.octets[order].view("<u8")
        linked = (previous[1:] == ids[:-1]).all(axis=1)
        wrong[1:] |= ~linked & (place[1:] > 0)
        return np.add.reduceat(wrong.astype(np.int64), edges[:-1]) > 0

    def _authenticate(self, tails: Sequence[tuple[int, Int64]]) -> None:
        """Verify the last header of each unbroken chain; one that fails is walked."""
        self._verify([row for row, _ in tails if self.summary[row]])
        for row, rows in tails:
            if not self.signed[row]:
                self._walk(rows, self.records.text("author", row))
                continue
            self.authentic[rows] = self.summary[rows] | self.signed[rows]
            self.forged += rows[~self.authentic[rows]].tolist()

    def _verify(self, rows: Sequence[int]) -> None:
        """Verify signatures of summaries, and note those that hold."""
        records = self.records
        failures = verify_batch(
            [self.keys[records.text("key_id", row)].key for row in rows],
            [records.ids[row] for row in rows],
            [records.signature(row) for row in rows],
        )
        for position, row in enumerate(rows):
            self.signed[row] = position not in failures

    def _walk(self, rows: Int64, author: bytes) -> None:
        """Verify every header of a chain, and say how it is broken; ``rows`` are by sequence, then by index."""
        records = self.records
        self._verify([row for row in rows.tolist() if self.summary[row] and not self.signed[row]])
        before: int | None = None
        for row in rows.tolist():
            if not self.signed[row]:
                self.forged.append(row)
                continue
            if before is not None and records.sequence[before] == records.sequence[row]:
                if records.ids[before] == records.ids[row]:
                    self.repeated.append(row)
                else:
                    self._contradict(before, row, Contradiction.SAME_PLACE)
                continue
            expected = 0 if before is None else int(records.sequence[before]) + 1
            missing = int(records.sequence[row]) - expected
            if missing:
                self.gaps.append(ChainGap(author, row, missing))
            elif before is not None and records.text("previous", row) != records.ids[before]:
                self._contradict(before, row, Contradiction.OTHER_PAST)
            self.authentic[row] = True
            before = row

    def _contradict(self, one: int, other: int, what: Contradiction) -> None:
        author = self.records.text("author", one)
        self.forks.append(Fork(author, (min(one, other), max(one, other)), what))

    def _named_by(self, openings: Mapping[bytes, Sequence[int]]) -> dict[int, int | None]:
        """Return of each opening that names a statement the row of that; ``None`` for one that is not logged."""
        records = self.records
        named = {
            row: records.text("previous", row)
            for found in openings.values()
            for row in found
            if records.sequence[row] == 0 and self.authentic[row]
        }
        logged = _rows_of(records, {previous for previous in named.values() if any(previous)})
        return {row: logged.get(previous) for row, previous in named.items() if any(previous)}

    def _find_rolled_back(self, named: Mapping[int, int | None]) -> None:
        """Find openings that name as their author's newest a statement that was not logged before them."""
        for row, previous in named.items():
            if previous is None or previous >= row:
                self.gaps.append(ChainGap(self.records.text("author", row), row, 1))

    def _find_superseded(self, named: Mapping[int, int | None]) -> None:
        """Find headers of an epoch that had seen its successor's opening.

        The successor is the opening that names a statement of the epoch: it was signed after the epoch began. In which
        order the log holds two openings proves nothing: a ledger may refuse one, and log it once its author has opened
        another instead. What an author saw counts only where it is this log: a ledger that showed it another, longer
        one must not make it look as if it had spoken after its own successor.
        """
        records = self.records
        successor = np.full(int(records.chain.max(initial=-1)) + 1, -1, dtype=np.int64)
        for row, previous in sorted(named.items(), reverse=True):
            own = previous is not None and records.text("author", previous) == records.text(
                "author", row
            )
            if own:
                successor[records.chain[previous]] = row
        after_row = successor[records.chain]
        late = self.authentic & (after_row >= 0) & (records.seen_size > records.index[after_row])
        proved: set[int] = set()
        for row in np.flatnonzero(late).tolist():
            chain, after = int(records.chain[row]), int(after_row[row])
            if chain in proved or not saw(records, row, self.prefix):
                continue
            if not self.signed[row]:
                self._verify([row])
            if self.signed[row]:
                proved.add(chain)
                author = records.text("author", row)
                rows = (min(after, row), max(after, row))
                self.forks.append(Fork(author, rows, Contradiction.SUPERSEDED))


def _in_chains(records: Records) -> Int64:
    """Return the rows of one chain after the other, by sequence, then by index."""
    chain, sequence = records.chain, records.sequence
    short = chain.astype(np.min_scalar_type(len(records.first)))  # short numbers are sorted sooner
    order = np.argsort(short, kind="stable").astype(np.int64)
    fell = (np.diff(sequence[order]) < 0) & (np.diff(chain[order]) == 0)
    return np.lexsort((sequence, chain)).astype(np.int64) if fell.any() else order


def _rows_of(records: Records, wanted: Collection[bytes]) -> dict[bytes, int]:
    """Return the last rows of statements by their ids, of those that are there."""
    heads = np.ascontiguousarray(records.ids.octets[:, :8]).view("<u8")[:, 0]
    sought = np.frombuffer(b"".join(ident[:8] for ident in wanted), dtype="<u8")
    rows = np.flatnonzero(np.isin(heads, sought)).tolist()
    return {records.ids[row]: row for row in rows if records.ids[row] in wanted}


def saw(records: Records, row: int, prefix: LogPrefix) -> bool:
    """Return whether the checkpoint that a row's author had seen is one of this log, as far as that is known."""
    size = int(records.seen_size[row])
    return (
        size <= prefix.size
        and records.text("seen_log", row) == hashlib.sha256(prefix.origin.encode()).digest()
        and records.text("seen_root", row) == prefix.root_at(size)
    )
