"""Checks a served folder from its bytes alone: rebuilds everything, and says what is wrong, where.

1. The checkpoint is signed by the log's key, and cosigned by every witness of the agreement's policy.
2. Bundles of entries and of bodies are whole; of several forms of one, the shorter begins the longer.
3. Records would be admitted again, in their order: keys, signatures, chains, bodies.
4. The entries have the checkpoint's root. When they do not and the hash tiles do, those tell which entries are wrong.
5. Hash tiles are those of the entries: every one that the checkpoint needs, and every other that lies there.

Of the log no more is held at a time than a hash a record, and one bundle.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ledger.examination import Examination
from ledger.forms import ENTRIES, Form, Place, find_forms, read_form
from ledger.objects.interface import ObjectStore
from ledger.publisher import CHECKPOINT
from ledger.replay import Bundle, Replay
from ledger.tree import Edge
from protos.stillwatch.statement.v1 import governance_pb2
from statements.body import decode_body, verify_stored
from statements.body_bundle import FOLDER, decode_body_bundle
from statements.errors import BodyError, HeaderError, PinsError, RecordError
from statements.header import decode_header
from statements.kinds import Kind, parse_content
from statements.pins import Pins, read_pins
from statements.record import decode_record
from tlog.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from tlog.cosignature import verify_cosignatures
from tlog.errors import NoteError, TlogError
from tlog.merkle import HASH_LENGTH, leaf_hash
from tlog.note import Note, Verifier, parse_note
from tlog.policy import Policy
from tlog.tile import WIDTH, Tile, aligned_path, bundles_of, decode_bundle, tiles_of

MOST_MISSING: Final = 1_000
"""Bundles that may be missing before the rest is not looked for: a checkpoint may claim any size."""
_BUNDLE_BYTES: Final = WIDTH * HASH_LENGTH


def examine(objects: ObjectStore, folder: Path, vkey: str | None) -> Examination:
    """Check a served folder. Without ``vkey`` the key is the one that the log's own agreement pins.

    ``folder`` is where the files of ``objects`` lie, for those that nothing names. A log may be written meanwhile.
    """
    found = Examination()
    note = objects.get(CHECKPOINT)
    if note is None:
        found.note(CHECKPOINT, "NO_CHECKPOINT", "there is no checkpoint: is this a log's folder?")
        return found
    try:
        checkpoint = parse_checkpoint(parse_note(note))
    except TlogError as error:
        found.note(CHECKPOINT, error.reason, str(error))
        return found
    found.origin, found.size = checkpoint.origin, checkpoint.size
    examiner = _Examiner(found, objects, find_forms(folder), checkpoint)
    # 1. The signature.
    pins = examiner.read_pins()
    examiner.verify_signature(note, pins, vkey)
    # 2 and 3. Bundles, and the records in them.
    hashes = examiner.verify_bundles(pins)
    if hashes is None:
        return found
    # 4. The root.
    hashes = examiner.verify_root(hashes)
    # 5. Tiles.
    examiner.verify_tiles(hashes)
    return found


class _Examiner:
    """The steps of one examination. Hashes of entries are kept end to end, zeros where there are none."""

    def __init__(
        self,
        found: Examination,
        objects: ObjectStore,
        forms: Mapping[Place, list[Form]],
        checkpoint: Checkpoint,
    ) -> None:
        self.found = found
        self.objects = objects
        self.forms = forms
        self.checkpoint = checkpoint

    def read_pins(self) -> Pins | None:
        """Return the root of trust in leaf 0's body, when it pins this log."""
        read = read_form(self.objects, FOLDER, 0, min(WIDTH, max(1, self.checkpoint.size)))
        place = aligned_path(FOLDER, 0) if read is None else read[0].path
        try:
            bodies = [None] if read is None else decode_body_bundle(read[1], read[0].width)
            self._verify_first(bodies[0] or b"")
            content = parse_content(Kind.AGREEMENT, decode_body(bodies[0] or b""))
            assert isinstance(content, governance_pb2.Agreement)  # noqa: S101 - for the type checker
            pins = read_pins(content.text)
        except (BodyError, PinsError) as error:
            words = f"record 0: the log does not begin with an agreement: {error}"
            self.found.note(place, error.reason, words)
            return None
        try:
            pins.ledger(self.checkpoint.origin)
        except PinsError as error:
            self.found.note(CHECKPOINT, error.reason, str(error))
            return None
        return pins

    def _verify_first(self, body: bytes) -> None:
        """Refuse leaf 0's body when it is not the one that its record names: :class:`BodyError`.

        Else an agreement of which a bit was flipped would have the checkpoint blamed.
        """
        read = read_form(self.objects, ENTRIES, 0, min(WIDTH, max(1, self.checkpoint.size)))
        if read is None:
            return  # told with the bundles
        with suppress(TlogError, RecordError, HeaderError):  # as well
            record = decode_record(decode_bundle(read[1], read[0].width)[0])
            verify_stored(body, decode_header(record.header).stored_digest)

    def verify_signature(self, note: bytes, pins: Pins | None, vkey: str | None) -> None:
        origin = self.checkpoint.origin
        if vkey is None:
            if pins is None:
                return  # that was said
            vkey = pins.ledger(origin).vkey
        try:
            verify_checkpoint(note, origin, Verifier.from_vkey(vkey))
        except TlogError as error:
            self.found.note(CHECKPOINT, error.reason, str(error))
            return
        if pins is not None:
            self.verify_cosignatures(parse_note(note), pins.policy)

    def verify_cosignatures(self, note: Note, policy: Policy) -> None:
        """Name each witness that did not cosign, or whose cosignature does not verify; and say if they are too few."""
        cosigned = set()
        for witness in policy.witnesses:
            try:
                if verify_cosignatures(note, [witness.key]):
                    cosigned.add(witness.name)
                    continue
            except NoteError as error:
                self.found.note(CHECKPOINT, error.reason, str(error))
            words = f"the witness {witness.name} ({witness.key.name}) has not cosigned"
            self.found.note(CHECKPOINT, "MISSING_WITNESS", words)
        if not policy.is_met(cosigned):
            words = f"those that cosigned are no quorum of {policy.quorum}"
            self.found.note(CHECKPOINT, "NOT_COSIGNED", words)

    def verify_bundles(self, pins: Pins | None) -> bytearray | None:
        """Check bundles, replay their records, return the hashes of the entries; ``None`` when too many are missing."""
        hashes = bytearray()
        replay: Replay | None = None
        if pins is not None:
            replay = Replay(self.found, pins, pins.ledger(self.checkpoint.origin).key_id)
        missing = 0
        for index, width in bundles_of(self.checkpoint.size):
            bundle = self._read_bundle(index, width)
            if bundle.entries:
                hashes += b"".join(leaf_hash(entry) for entry in bundle.entries)
            else:
                hashes += bytes(width * HASH_LENGTH)
                missing += 1
            self.found.held += sum(1 for body in bundle.bodies if body is not None)
            if missing > MOST_MISSING:
                self.found.note(
                    ENTRIES,
                    "MISSING_FILE",
                    f"{missing} bundles are missing: is this the whole log?",
                )
                return None
            if replay is None:
                continue
            if bundle.entries and bundle.bodies:
                replay.take(bundle)
            else:
                words = f"records from {index * WIDTH} on could not be admitted again"
                self.found.note(aligned_path(ENTRIES, index, width), "NOT_REPLAYED", words)
                replay = None
        return hashes

    def _read_bundle(self, index: int, width: int) -> Bundle:
        """Return what a bundle holds; nothing of entries or bodies that are missing or broken."""
        entries: list[bytes] = []
        bodies: list[bytes | None] = []
        paths = {}
        for folder in (ENTRIES, FOLDER):
            read = self._read(folder, index, width)
            paths[folder] = aligned_path(folder, index, width) if read is None else read[0].path
            if read is None:
                continue
            form, data = read
            self._verify_forms(folder, index, form, data)
            try:
                if folder == ENTRIES:
                    entries = decode_bundle(data, form.width)[:width]
                else:
                    bodies = decode_body_bundle(data, form.width)[:width]
            except (TlogError, BodyError) as error:
                self.found.note(form.path, error.reason, str(error))
        return Bundle(entries, bodies, paths[ENTRIES], paths[FOLDER])

    def _read(self, folder: str, index: int, width: int) -> tuple[Form, bytes] | None:
        read = read_form(self.objects, folder, index, width)
        if read is None:
            self.found.note(aligned_path(folder, index, width), "MISSING_FILE", "it is missing")
        return read

    def _verify_forms(self, folder: str, index: int, used: Form, data: bytes) -> None:
        """Check the other forms of a bundle against the one that is used."""
        for form in self.forms.get((folder, index), ()):
            other = None if form == used else self.objects.get(form.path)
            if other is None:
                continue  # it is the same, or went meanwhile
            try:
                if folder == ENTRIES:
                    decode_bundle(other, form.width)
                else:
                    decode_body_bundle(other, form.width)
            except (TlogError, BodyError) as error:
                self.found.note(form.path, error.reason, str(error))
                continue
            short, long = (other, data) if form.width < used.width else (data, other)
            if not long.startswith(short):
                words = f"it differs from {used.path}, and one is to begin the other"
                self.found.note(form.path, "FORMS_DIFFER", words)

    def verify_root(self, hashes: bytearray) -> bytearray:
        """Return the hashes that have the checkpoint's root, as far as any have."""
        checkpoint = self.checkpoint
        if _edge(hashes).root == checkpoint.root:
            return hashes
        held = self._read_leaf_tiles()
        if _edge(held).root != checkpoint.root:
            words = f"neither the entries nor the tiles have the root {checkpoint.root.hex()} of {checkpoint.size}"
            self.found.note(CHECKPOINT, "WRONG_ROOT", words)
            return hashes
        for index, width in bundles_of(checkpoint.size):
            begin = index * _BUNDLE_BYTES
            ours, theirs = (
                _split(some[begin : begin + width * HASH_LENGTH]) for some in (hashes, held)
            )
            wrong = [str(index * WIDTH + at) for at in range(width) if ours[at] != theirs[at]]
            if wrong and any(map(any, ours)):
                words = f"the signed tree has other entries than {', '.join(wrong)} here"
                read = read_form(self.objects, ENTRIES, index, width)
                place = aligned_path(ENTRIES, index, width) if read is None else read[0].path
                self.found.note(place, "WRONG_ENTRIES", words)
        return held

    def _read_leaf_tiles(self) -> bytearray:
        hashes = bytearray()
        for index, width in bundles_of(self.checkpoint.size):
            read = read_form(self.objects, "tile/0", index, width)
            data = b"" if read is None else read[1][: width * HASH_LENGTH]
            hashes += data.ljust(width * HASH_LENGTH, b"\0")
        return hashes

    def verify_tiles(self, hashes: bytearray) -> None:
        for tile in tiles_of(self.checkpoint.size):
            self._read(f"tile/{tile.level}", tile.index, tile.width)
        true = dict(_tiles(hashes))
        for (folder, index), forms in sorted(self.forms.items()):
            if folder in (ENTRIES, FOLDER):
                continue
            known = true.get(Tile(int(folder.removeprefix("tile/")), index), b"")
            for form in forms:
                data = self.objects.get(form.path)
                if data is None:
                    continue  # it went meanwhile
                if len(data) != form.width * HASH_LENGTH:
                    words = f"a tile of {form.width} hashes has {len(data)} bytes"
                    self.found.note(form.path, "TILE_LENGTH", words)
                elif data[: len(known)] != known[: len(data)]:
                    words = "it does not hold the hashes of the entries"
                    self.found.note(form.path, "WRONG_TILE", words)


def _edge(hashes: bytearray) -> Edge:
    edge = Edge()
    for at in range(0, len(hashes), _BUNDLE_BYTES):
        edge, _ = edge.extend(_split(hashes[at : at + _BUNDLE_BYTES]))
    return edge


def _tiles(hashes: bytearray) -> Iterator[tuple[Tile, bytes]]:
    """Yield every tile of the tree over those hashes, each under its full name."""
    edge = Edge()
    for at in range(0, len(hashes), _BUNDLE_BYTES):
        edge, filled = edge.extend(_split(hashes[at : at + _BUNDLE_BYTES]))
        yield from filled.items()
    for tile, data in edge.partial_tiles():
        yield Tile(tile.level, tile.index), data


def _split(hashes: bytearray) -> list[bytes]:
    return [bytes(hashes[at : at + HASH_LENGTH]) for at in range(0, len(hashes), HASH_LENGTH)]
