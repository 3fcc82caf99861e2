"""Checks a served folder from its bytes alone: rebuilds everything, and says what is wrong, where.

1. The checkpoint is signed by the log's key.
2. Entry bundles are whole, and have the checkpoint's root.
3. Hash tiles are those of the entries: every one that the checkpoint needs, and every other that lies there.
4. Stored bodies have their digests, and those of public kinds are there.
5. Records would be admitted again, in their order: keys, signatures, chains.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from ledger.admission import judge
from ledger.chains import Chains
from ledger.errors import LedgerError
from ledger.keyring import Keyring
from ledger.objects.interface import ObjectStore
from ledger.publisher import CHECKPOINT
from ledger.refusal import Refusal
from ledger.screening import Screened
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.author import Statement
from statements.body import decode_body, verify_stored
from statements.body_bundle import FOLDER, decode_body_bundle
from statements.enrolment import verify_enrolment
from statements.errors import BodyError, PinsError, SignatureError, StatementError
from statements.header import Header, decode_header
from statements.kinds import SEALABLE, Kind, parse_content
from statements.pins import read_pins
from statements.record import decode_record
from statements.signing import VerifyingKey, key_digest, statement_id, verify_signature
from tlog.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from tlog.errors import TlogError
from tlog.merkle import EMPTY_ROOT, HASH_LENGTH, leaf_hash, subtree_root
from tlog.note import Verifier, parse_note
from tlog.tile import WIDTH, Tile, aligned_path, bundle_path, bundles_of, decode_bundle, tiles_of

_TILE_PATH: Final = re.compile(r"tile/(\d{1,2})/((?:x\d{3}/)*\d{3})(?:\.p/(\d{1,3}))?")


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong: where (a path, or a record), a reason code, and words."""

    place: str
    reason: str
    message: str


@dataclass(slots=True)
class Examination:
    """What was found. ``size`` is the checkpoint's; ``held`` counts bodies that are there."""

    origin: str = ""
    size: int = 0
    held: int = 0
    flaws: list[Flaw] = field(default_factory=list)

    def note(self, place: str, reason: str, message: str) -> None:
        """Add a flaw."""
        self.flaws.append(Flaw(place, reason, message))


def examine(objects: ObjectStore, folder: Path, vkey: str | None) -> Examination:
    """Check a served folder. Without ``vkey`` the key is the one that the log's own agreement pins.

    ``folder`` is where the files of ``objects`` lie, for those that nothing names.
    """
    return _Examiner(objects, folder).run(vkey)


class _Examiner:
    """The moving parts of one examination."""

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self.objects = objects
        self.folder = folder
        self.found = Examination()
        self.entries: list[bytes] = []
        self.bodies: list[bytes | None] = []

    def run(self, vkey: str | None) -> Examination:
        found = self.found
        note = self.objects.get(CHECKPOINT)
        if note is None:
            found.note(
                CHECKPOINT, "NO_CHECKPOINT", "there is no checkpoint: is this a log's folder?"
            )
            return found
        try:
            checkpoint = parse_checkpoint(parse_note(note))
        except TlogError as error:
            found.note(CHECKPOINT, error.reason, str(error))
            return found
        found.origin, found.size = checkpoint.origin, checkpoint.size
        whole = self._read_entries(checkpoint.size)
        self._read_bodies(checkpoint.size)
        # 1. The signature.
        self._verify_signature(note, checkpoint, vkey)
        if not whole:
            return found
        # 2. The root.
        levels = _levels(self.entries)
        root = subtree_root(levels[0]) if levels else EMPTY_ROOT
        if root != checkpoint.root:
            found.note(
                "tile/entries",
                "WRONG_ENTRIES",
                f"the entries have the root {root.hex()}, the checkpoint says {checkpoint.root.hex()}",
            )
        # 3. Tiles.
        self._verify_tiles(checkpoint.size, levels)
        # 4 and 5. Bodies and records.
        _Replay(found, self.entries, self.bodies).run()
        return found

    def _aligned(self, folder: str, index: int, width: int) -> tuple[bytes | None, int]:
        """Return a bundle, and the width of the form that is there."""
        data = self.objects.get(aligned_path(folder, index, width))
        if data is None and width < WIDTH:
            return self.objects.get(aligned_path(folder, index)), WIDTH
        return data, width

    def _read_entries(self, size: int) -> bool:
        whole = True
        for index, width in bundles_of(size):
            path = bundle_path(index, width)
            data, held = self._aligned("tile/entries", index, width)
            try:
                if data is None:
                    raise TlogError("MISSING_FILE", "it is missing")  # noqa: TRY301
                self.entries += decode_bundle(data, held)[:width]
            except TlogError as error:
                self.found.note(path, error.reason, str(error))
                whole = False
        return whole

    def _read_bodies(self, size: int) -> None:
        for index, width in bundles_of(size):
            path = aligned_path(FOLDER, index, width)
            data, held = self._aligned(FOLDER, index, width)
            try:
                if data is None:
                    raise BodyError("MISSING_FILE", "it is missing")  # noqa: TRY301
                self.bodies += decode_body_bundle(data, held)[:width]
            except BodyError as error:
                self.found.note(path, error.reason, str(error))
                self.bodies += [None] * width
        self.found.held = sum(1 for body in self.bodies if body is not None)

    def _verify_signature(self, note: bytes, checkpoint: Checkpoint, vkey: str | None) -> None:
        try:
            if vkey is None:
                text = _agreement(self.bodies[0] if self.bodies else None)
                vkey = read_pins(text).ledger(checkpoint.origin).vkey
            verify_checkpoint(note, checkpoint.origin, Verifier.from_vkey(vkey))
        except (TlogError, StatementError) as error:
            self.found.note(CHECKPOINT, error.reason, str(error))

    def _verify_tiles(self, size: int, levels: list[list[bytes]]) -> None:
        needed = {tile.path: tile for tile in tiles_of(size)}
        for path, tile in needed.items():
            data = self.objects.get(path)
            if data is None and tile.width < WIDTH:
                data = self.objects.get(Tile(tile.level, tile.index).path)
                data = None if data is None else data[: tile.width * HASH_LENGTH]
            if data is None:
                self.found.note(path, "MISSING_FILE", "it is missing")
            elif data != _tile(tile, levels):
                self.found.note(path, "WRONG_TILE", "it does not hold the hashes of the entries")
        for path, tile in self._lying(needed):
            data = self.objects.get(path) or b""
            known = _tile(tile, levels)
            if len(data) != tile.width * HASH_LENGTH:
                self.found.note(
                    path, "TILE_LENGTH", f"a tile of {tile.width} hashes has {len(data)} bytes"
                )
            elif not data.startswith(known):
                self.found.note(path, "WRONG_TILE", "it does not hold the hashes of the entries")

    def _lying(self, needed: dict[str, Tile]) -> Iterator[tuple[str, Tile]]:
        """Yield the hash tiles that lie there beside those needed: older partial ones, or newer than the checkpoint."""
        for file in sorted((self.folder / "tile").rglob("*")):
            path = file.relative_to(self.folder).as_posix()
            found = _TILE_PATH.fullmatch(path)
            if path in needed or found is None or not file.is_file():
                continue
            level, width = int(found[1]), int(found[3] or WIDTH)
            index = int(found[2].replace("/", "").replace("x", ""))
            if 1 <= width <= WIDTH:
                yield path, Tile(level, index, width)


class _Replay:
    """Records, admitted again."""

    def __init__(
        self, found: Examination, entries: list[bytes], bodies: list[bytes | None]
    ) -> None:
        self.found = found
        self.entries = entries
        self.bodies = bodies
        self.chains = Chains()

    def run(self) -> None:
        try:
            pins = read_pins(_agreement(self.bodies[0] if self.bodies else None))
            ledger = pins.ledger(self.found.origin).key_id
        except (PinsError, BodyError) as error:
            self.found.note(
                "record 0", error.reason, f"the log does not begin with an agreement: {error}"
            )
            return
        keyring = Keyring(pins, ledger)
        first: tuple[Header, bytes] | None = None
        for index, entry in enumerate(self.entries):
            try:
                record = decode_record(entry)
                header = decode_header(record.header)
                message = _content(header, self.bodies[index])
                if index < 2 and header.key_id != ledger:
                    raise BodyError("NOT_THE_LEDGER", "the first two records are the ledger's own")
                if (
                    isinstance(message, identity_pb2.Opening)
                    and key_digest(message.key) == header.key_id
                ):
                    keyring.show(VerifyingKey.from_spki(message.key))
                said = Statement(record.header, record.signature, self.bodies[index] or b"")
                if index == 0:
                    first = header, record.signature
                    self.chains.push(header, 0, said.id)
                    continue
                self._admit(index, said, header, message, keyring)
                if index == 1 and first is not None:
                    self._verify_first(first, keyring)
            except (StatementError, LedgerError) as error:
                self.found.note(f"record {index}", error.reason, str(error))

    def _verify_first(self, first: tuple[Header, bytes], keyring: Keyring) -> None:
        key = keyring.known(first[0].key_id)
        identity = self.chains.epoch(first[0].author, first[0].epoch)
        if key is None or identity is None:
            self.found.note("record 0", "UNKNOWN_KEY", "no opening of the ledger follows leaf 0")
            return
        try:
            verify_signature(key, statement_id(decode_record(self.entries[0]).header), first[1])
        except SignatureError as error:
            self.found.note("record 0", error.reason, str(error))

    def _admit(
        self, index: int, said: Statement, header: Header, message: Message | None, keyring: Keyring
    ) -> None:
        key = keyring.known(header.key_id)
        if key is None:
            raise SignatureError(
                "UNKNOWN_KEY", f"nobody showed the key {header.key_id.hex()} before"
            )
        verify_signature(key, said.id, said.signature)
        verdict = judge(Screened(said, said.id, header, message, key), self.chains, keyring)
        if isinstance(verdict, Refusal) and index != 1:
            raise StatementError(verdict.reason, verdict.message)
        if isinstance(verdict, int):
            raise StatementError("LOGGED_TWICE", f"record {verdict} holds this place of its chain")
        if isinstance(message, identity_pb2.Enrolment):
            keyring.enrol(verify_enrolment(message, header.author, keyring.pins.digest))
        self.chains.push(header, index, said.id)


def _content(header: Header, stored: bytes | None) -> Message | None:
    """Return what a public statement says, once its body has its digest."""
    if header.kind not in {int(kind) for kind in Kind}:
        raise BodyError("UNKNOWN_KIND", f"no kind has the number {header.kind}")
    kind = Kind(header.kind)
    if stored is None:
        if kind in SEALABLE:
            return None
        raise BodyError("BODY_MISSING", f"the body of a {kind.name} statement is not there")
    verify_stored(stored, header.stored_digest)
    return None if kind in SEALABLE else parse_content(kind, decode_body(stored))


def _agreement(stored: bytes | None) -> bytes:
    if stored is None:
        raise BodyError("NO_AGREEMENT", "the body of leaf 0 is not there")
    content = parse_content(Kind.AGREEMENT, decode_body(stored))
    return content.text if isinstance(content, governance_pb2.Agreement) else b""


def _levels(entries: list[bytes]) -> list[list[bytes]]:
    """Return the hashes that tiles hold, level by level."""
    levels: list[list[bytes]] = []
    hashes = [leaf_hash(entry) for entry in entries]
    while hashes:
        levels.append(hashes)
        whole = len(hashes) - len(hashes) % WIDTH
        hashes = [subtree_root(hashes[at : at + WIDTH]) for at in range(0, whole, WIDTH)]
    return levels


def _tile(tile: Tile, levels: list[list[bytes]]) -> bytes:
    """Return what of a tile follows from the entries."""
    hashes = levels[tile.level] if tile.level < len(levels) else []
    return b"".join(hashes[tile.index * WIDTH : tile.index * WIDTH + tile.width])
