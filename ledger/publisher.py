"""The publisher: integrates what the journal holds into static files, and signs the tree.

Files first, then the compare-and-swap on the last signed checkpoint, then the witnesses' cosignatures, then the
checkpoint itself: whoever reads a checkpoint finds everything that it covers, and two ledgers on one journal cannot
both sign. Everything but the signatures follows from the journal, so that a crash is repaired by integrating again.
Where the agreement asks for witnesses, no checkpoint is published without a quorum of them.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from ledger.cosigning import Cosigning
from ledger.errors import ForkError, JournalError, QuorumError
from ledger.journal.interface import Entry, Journal
from ledger.objects.interface import ObjectStore
from ledger.proofs import Prover
from ledger.tree import Edge
from statements.body_bundle import FOLDER, encode_body_bundle
from tlog.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from tlog.errors import TlogError
from tlog.merkle import EMPTY_ROOT, leaf_hash
from tlog.note import Signer, Verifier, parse_note
from tlog.policy import verify_quorum
from tlog.tile import WIDTH, Tile, aligned_path, bundle_path, encode_bundle

CHECKPOINT: Final = "checkpoint"
_STEP: Final = 16 * WIDTH
"""Records that are integrated at a time, at most."""
_STEP_BYTES: Final = 32 << 20
"""Bytes of bodies after which no further bundle is taken into a step."""


@dataclass(frozen=True, slots=True)
class Published:
    """A signed checkpoint: the note, the size and root of its tree, and the time that witnesses give it (Unix ms).

    ``time_ms`` is ``None`` where no witness cosigned.
    """

    note: bytes
    size: int
    root: bytes
    time_ms: int | None = None


class Publisher:
    """Integrates and signs. One thread calls it; any may read ``published``."""

    def __init__(
        self,
        journal: Journal,
        objects: ObjectStore,
        signer: Signer,
        cosigning: Cosigning | None = None,
    ) -> None:
        self._cosigning = cosigning
        self._is_surveyed = cosigning is None
        self._journal = journal
        self._objects = objects
        self._signer = signer
        self._edge = Edge()
        self._signed: bytes | None = None
        self._signing: bytes | None = None
        self._pruned = 0
        self.published: Published | None = None

    def open(self) -> None:
        """Go on from what was signed and published before.

        The tree is computed anew from the journal; both the last checkpoint signed and the one published must be of
        trees that it had: else :class:`ForkError`. Files beyond what was published are written again.
        """
        self._signed = self._journal.signed()
        served = self._objects.get(CHECKPOINT)
        known = [self._verify(note) for note in (served, self._signed) if note is not None]
        size = self._journal.size()
        whole = min((one.size for one in known), default=0) if served is not None else 0
        for one in sorted(known, key=lambda one: one.size):
            if one.size > size:
                raise ForkError(
                    "JOURNAL_BEHIND",
                    f"a tree of {one.size} records was signed, and the journal holds {size}: it is an old copy; "
                    "signing would fork the log. Bring the newest journal back",
                )
            self._integrate(min(whole, one.size), write=False)
            self._integrate(one.size, write=True)
            if self._edge.root != one.root:
                raise ForkError(
                    "JOURNAL_DIFFERS",
                    f"the journal's first {one.size} records have another root than the one signed: signing would "
                    "fork the log. Bring the right journal back",
                )
        newest = max(known, key=lambda one: one.size, default=None)
        if newest is not None:
            self._write_edge()
            if self._cosigning is None:
                self._objects.put({CHECKPOINT: newest.note})
                self.published = newest
            elif served is not None:
                with suppress(TlogError):  # what no quorum cosigned is not published
                    self.published = self._witnessed(served, self._cosigning)
            self._pruned = self.published.size if self.published is not None else 0
            if self._signed is None:
                self._journal.sign(None, newest.note)
                self._signed = newest.note

    def publish(self, *, anew: bool = False) -> Published:
        """Integrate everything durable, and sign it if it grew; return what is published.

        With ``anew`` witnesses cosign even what did not grow, so that it bears their time of now. Raises
        :class:`ObjectError` or :class:`JournalError` when the storage fails, and :class:`QuorumError` when witnesses do
        not answer: nothing is lost, and the next call does what is left. :class:`ForkError` is final.
        """
        size = self._journal.size()
        anew = anew and self._cosigning is not None
        if self.published is not None and self.published.size == size and not anew:
            return self.published
        self._survey(size)
        self._integrate(size, write=True)
        self._write_edge()
        checkpoint = Checkpoint(self._signer.name, size, self._edge.root)
        note = sign_checkpoint(checkpoint, self._signer)
        self._sign(note)
        published = Published(note, size, checkpoint.root)
        if self._cosigning is not None:
            published = self._cosign(note, checkpoint, self._cosigning)
        self._objects.put({CHECKPOINT: published.note})
        self.published = published
        self._prune(size)
        return published

    def _survey(self, size: int) -> None:
        """Before the first signature: have a quorum say that it has cosigned nothing that the journal lacks."""
        if self._is_surveyed or self._cosigning is None:
            return
        empty = sign_checkpoint(Checkpoint(self._signer.name, 0, EMPTY_ROOT), self._signer)
        if not self._cosigning.survey(empty, size):
            raise QuorumError(
                "NO_SURVEY",
                "no quorum of witnesses says what it has cosigned of this log: nothing is signed until it does",
            )
        self._is_surveyed = True

    def _cosign(self, note: bytes, checkpoint: Checkpoint, cosigning: Cosigning) -> Published:
        prover = Prover(self._objects, checkpoint.size)
        cosigned = cosigning.cosign(note, checkpoint, prover.consistency)
        if cosigned is None:
            raise QuorumError(
                "NO_QUORUM",
                f"no quorum of witnesses cosigned the tree of {checkpoint.size} records: it is published once one does",
            )
        return self._witnessed(cosigned.encode(), cosigning)

    def _witnessed(self, note: bytes, cosigning: Cosigning) -> Published:
        """Return a note of ours as published, with the time that its quorum gives; raises :class:`TlogError`."""
        quorum = verify_quorum(parse_note(note), cosigning.policy)
        return replace(self._verify(note), time_ms=quorum.time_ms)

    def _sign(self, note: bytes) -> None:
        """Swap the last signed checkpoint; one whose swap was not answered before may have been swapped after all."""
        if self._signing is not None and self._journal.signed() == self._signing:
            self._signed = self._signing
        self._signing = note
        self._journal.sign(self._signed, note)
        self._signed, self._signing = note, None

    def _verify(self, note: bytes) -> Published:
        try:
            found = verify_checkpoint(
                note, self._signer.name, Verifier.from_vkey(self._signer.vkey)
            )
        except TlogError as error:
            raise ForkError(
                error.reason,
                f"the checkpoint published or signed last is not this ledger's: {error}. Is this its folder? A file "
                f"{CHECKPOINT!r} that is damaged can be moved away: it is written again from the journal",
            ) from error
        return Published(note, found.size, found.root)

    def _integrate(self, size: int, *, write: bool) -> None:
        """Bring the edge to ``size``; write the tiles and bundles that became full on the way."""
        while self._edge.size < size:
            start = self._edge.size - self._edge.size % WIDTH
            end = min(size, start + _STEP)
            entries = self._take(start, end) if write else []
            records = [record for record, _ in entries or self._journal.leaves(start, end)]
            fresh = records[self._edge.size - start :]
            if not fresh:
                raise JournalError(
                    "JOURNAL_DAMAGED",
                    f"the journal holds no records from {start + len(records)} on: bring a copy back",
                )
            edge, filled = self._edge.extend([leaf_hash(record) for record in fresh])
            if write:
                files = _tile_files(filled)
                for at in range(0, len(entries) - len(entries) % WIDTH, WIDTH):
                    files |= _bundle_files((start + at) // WIDTH, entries[at : at + WIDTH])
                self._objects.put(files)
            self._edge = edge

    def _take(self, start: int, end: int) -> list[Entry]:
        """Read the entries [start, end), or whole bundles of them when their bodies are large."""
        taken: list[Entry] = []
        size = 0
        for entry in self._journal.read(start, end):
            taken.append(entry)
            size += len(entry[1] or b"")
            if size >= _STEP_BYTES and len(taken) % WIDTH == 0:
                break
        return taken

    def _write_edge(self) -> None:
        """Write the tiles and bundles that are not full."""
        files = _tile_files(dict(self._edge.partial_tiles()))
        start = self._edge.size - self._edge.size % WIDTH
        entries = list(self._journal.read(start, self._edge.size))
        if entries:
            files |= _bundle_files(start // WIDTH, entries)
        self._objects.put(files)

    def _prune(self, size: int) -> None:
        """Remove the partial forms of what is full now; C2SP tlog-tiles allows it."""
        level, old, new = 0, self._pruned, size
        while new >= WIDTH:
            for index in range(old // WIDTH, new // WIDTH):
                folders = [Tile(level, index).path]
                if level == 0:
                    folders += [bundle_path(index), aligned_path(FOLDER, index)]
                self._objects.discard(f"{folder}.p" for folder in folders)
            level, old, new = level + 1, old // WIDTH, new // WIDTH
        self._pruned = size


def _tile_files(tiles: Mapping[Tile, bytes]) -> dict[str, bytes]:
    return {tile.path: data for tile, data in tiles.items()}


def _bundle_files(index: int, entries: list[Entry]) -> dict[str, bytes]:
    width = len(entries)
    return {
        bundle_path(index, width): encode_bundle([record for record, _ in entries]),
        aligned_path(FOLDER, index, width): encode_body_bundle([body for _, body in entries]),
    }
