"""Exports: some records of a log with all that it takes to verify them without the log (docs/bundle-format.md).

Only what is served is read, so that a mirror can be exported as well. Beside the chosen records stand those that show
whose keys signed them:

1. leaves 0 and 1: the agreement, and the ledger's opening;
2. the opening of each chosen record's epoch;
3. for an author that the agreement does not pin, the enrolments of its key;
4. revocations of the keys that signed the chosen records;
5. of all these authors, parties included, the rotations that replaced their keys or were votes to do so, whoever said
   them, and the openings of the epochs in which any of this was said.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ledger.errors import ExportError
from ledger.forms import ENTRIES, read_form
from ledger.objects.interface import ObjectStore
from ledger.proofs import Prover
from ledger.publisher import CHECKPOINT
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.body import decode_body
from statements.body_bundle import FOLDER, decode_body_bundle
from statements.errors import BodyError, StatementError
from statements.header import Header, decode_header
from statements.key_lives import DEEDS
from statements.kinds import Kind, parse_content
from statements.offline_bundle import (
    RECORDS_LIMIT,
    Everything,
    OfflineBundle,
    RangeOf,
    Selection,
)
from statements.pins import Pins, read_pins
from statements.record import decode_record
from statements.signing import key_digest
from tlog.checkpoint import Checkpoint, parse_checkpoint
from tlog.merkle import leaf_hash
from tlog.note import parse_note
from tlog.selection import verify_selection
from tlog.tile import WIDTH, bundles_of, decode_bundle

_FOUNDING: Final = (0, 1)

_Chain = tuple[bytes, bytes]
"""An author and an epoch."""


class Served:
    """What a folder serves of the tree of its newest checkpoint, bundle by bundle; the last one read is kept.

    Raises :class:`ExportError`, :class:`ObjectError`, or :class:`TlogError` for a checkpoint that is none.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        note = objects.get(CHECKPOINT)
        if note is None:
            raise ExportError("MISSING_FILE", "there is no checkpoint: is this a log's folder?")
        self.note = note
        self.tree: Checkpoint = parse_checkpoint(parse_note(note))
        self._entries: tuple[int, list[bytes]] = (-1, [])
        self._bodies: tuple[int, list[bytes | None]] = (-1, [])

    def record(self, index: int) -> bytes:
        """Return a leaf."""
        bundle, at = divmod(index, WIDTH)
        if self._entries[0] != bundle:
            self._entries = bundle, self._read_entries(bundle)
        return self._entries[1][at]

    def body(self, index: int) -> bytes | None:
        """Return a record's stored body, ``None`` where it is not held; it is not checked against its header."""
        bundle, at = divmod(index, WIDTH)
        if self._bodies[0] != bundle:
            self._bodies = bundle, self._read_bodies(bundle)
        return self._bodies[1][at]

    def prover(self) -> Prover:
        """Return what proves records of this tree."""
        return Prover(self._objects, self.tree.size)

    def headers(self) -> Iterator[tuple[int, Header | None]]:
        """Yield the header at each index; ``None`` where the leaf is no record."""
        for bundle, width in bundles_of(self.tree.size):
            for index in range(bundle * WIDTH, bundle * WIDTH + width):
                try:
                    yield index, decode_header(decode_record(self.record(index)).header)
                except StatementError:
                    yield index, None

    def _width(self, bundle: int) -> int:
        return min(WIDTH, self.tree.size - bundle * WIDTH)

    def _read_entries(self, bundle: int) -> list[bytes]:
        read = read_form(self._objects, ENTRIES, bundle, self._width(bundle))
        if read is None:
            raise ExportError(
                "MISSING_FILE", f"the records from {bundle * WIDTH} on are missing: run fsck"
            )
        return decode_bundle(read[1], read[0].width)

    def _read_bodies(self, bundle: int) -> list[bytes | None]:
        read = read_form(self._objects, FOLDER, bundle, self._width(bundle))
        if read is None:
            return [None] * WIDTH
        return decode_body_bundle(read[1], read[0].width)


@dataclass(slots=True)
class _Census:
    """Where in a log the chosen records are, and what may show their keys."""

    chosen: list[int] = field(default_factory=list)
    chains: set[_Chain] = field(default_factory=set)
    openings: dict[_Chain, int] = field(default_factory=dict)
    keys: set[bytes] = field(default_factory=set)
    deeds: list[tuple[int, Kind, _Chain]] = field(default_factory=list)


def export(objects: ObjectStore, selection: Selection) -> OfflineBundle:
    """Return a bundle of the chosen records of the newest tree that is served.

    Signatures are not verified: whoever gets the bundle does that. Raises :class:`ExportError` when nothing is chosen
    or what is served is not whole, and :class:`ProofError` when its records do not have the checkpoint's root.
    """
    served = Served(objects)
    if isinstance(selection, RangeOf) and selection.last >= served.tree.size:
        raise ExportError(
            "OUT_OF_RANGE", f"there is no record {selection.last} in a tree of {served.tree.size}"
        )
    agreement = _agreement(served)
    census = _count(served, selection)
    if not census.chosen:
        raise ExportError("NO_RECORDS", f"no record of {served.tree.origin} is by that author")
    indices = sorted({*census.chosen, *_support(served, census, read_pins(agreement))})
    records = tuple(served.record(index) for index in indices)
    bundle = OfflineBundle(
        selection=selection,
        agreement=agreement,
        note=served.note,
        indices=tuple(indices),
        records=records,
        bodies=tuple(served.body(index) for index in indices),
        hashes=tuple(served.prover().selection(indices, served.tree.size)),
    )
    leaves = [leaf_hash(record) for record in records]
    verify_selection(indices, served.tree.size, leaves, bundle.hashes, served.tree.root)
    return bundle


def _agreement(served: Served) -> bytes:
    try:
        content = parse_content(Kind.AGREEMENT, decode_body(served.body(0) or b""))
        assert isinstance(content, governance_pb2.Agreement)  # noqa: S101 - for the type checker
    except BodyError as error:
        raise ExportError(
            "NO_AGREEMENT", f"the log does not begin with an agreement: {error}"
        ) from None
    return content.text


def _count(served: Served, selection: Selection) -> _Census:
    census = _Census()
    for index, header in served.headers():
        if _is_chosen(index, header, selection):
            if header is None:
                raise ExportError(
                    "MALFORMED_RECORD", f"leaf {index} is no record: run fsck, and select others"
                )
            census.chosen.append(index)
            census.chains.add((header.author, header.epoch))
            census.keys.add(header.key_id)
            if len(census.chosen) > RECORDS_LIMIT:
                raise ExportError(
                    "BUNDLE_TOO_LARGE",
                    f"more than {RECORDS_LIMIT} records: select fewer with --from and --to",
                )
        if header is None:
            continue
        if header.kind == Kind.OPENING:
            census.openings.setdefault((header.author, header.epoch), index)
        elif header.kind in DEEDS:
            census.deeds.append((index, Kind(header.kind), (header.author, header.epoch)))
    return census


def _is_chosen(index: int, header: Header | None, selection: Selection) -> bool:
    if isinstance(selection, Everything):
        return True
    if isinstance(selection, RangeOf):
        return selection.first <= index <= selection.last
    return header is not None and header.author == selection.author


def _support(served: Served, census: _Census, pins: Pins) -> Iterable[int]:
    """Yield the indices of what shows whose keys signed the chosen records, and whether they had ended."""
    yield from (index for index in _FOUNDING if index < served.tree.size)
    chains = set(census.chains)
    deeds = [
        (index, kind, _named(kind, served.body(index)), chain)
        for index, kind, chain in census.deeds
    ]
    told = {
        index: chain
        for index, kind, named, chain in deeds
        if kind is Kind.REVOCATION and named in census.keys
    }
    authors: set[bytes] = set()
    while authors != (authors := {author for author, _ in chains | set(told.values())}):
        # Whoever said any of this may speak by what somebody else said.
        enrolled = authors - pins.by_key.keys()
        told |= {
            index: chain
            for index, kind, named, chain in deeds
            if (kind is Kind.ENROLMENT and named in enrolled)
            or (kind is Kind.ROTATION and (named or chain[0]) in authors)
        }
    chains |= set(told.values())
    yield from told
    yield from (census.openings[chain] for chain in chains if chain in census.openings)


def _named(kind: Kind, stored: bytes | None) -> bytes:
    """Return whose key is enrolled or replaced, or which is revoked; nothing for one's own, or a body that is none."""
    try:
        content = parse_content(kind, decode_body(stored or b""))
    except BodyError:
        return b""
    if isinstance(content, identity_pb2.Enrolment):
        return key_digest(content.node_key)
    if isinstance(content, identity_pb2.Rotation):
        return content.author
    return content.key_id if isinstance(content, identity_pb2.Revocation) else b""
