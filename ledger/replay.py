"""The records of a log, admitted again: by the code that admits statements, in the order in which they lie there."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.admission import judge
from ledger.chains import Chains
from ledger.examination import Examination
from ledger.founding import FOUNDED
from ledger.keyring import Keyring
from ledger.refusal import Refusal
from ledger.screening import Screened, screen
from protos.stillwatch.statement.v1 import identity_pb2
from statements.body import decode_body
from statements.errors import BodyError, HeaderError, RecordError, SignatureError
from statements.header import decode_header
from statements.kinds import Kind, parse_content
from statements.pins import Pins
from statements.record import Record, decode_record
from statements.signing import VerifyingKey, key_digest, statement_id

_OF_BODIES = frozenset(
    {
        "BODY_MISSING",
        "BODY_MISMATCH",
        "BODY_TOO_LARGE",
        "MALFORMED_BODY",
        "BAD_ENROLMENT",
        "BAD_ROTATION",
        "BAD_REVOCATION",
    }
)
_NO_RECORD = Record(b"", b"", 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Consecutive records with their bodies, ``None`` where one is not held, and the files that they are in."""

    entries: Sequence[bytes]
    bodies: Sequence[bytes | None]
    entries_path: str
    bodies_path: str


class Replay:
    """Admits record after record, and notes those that should not have been logged.

    Leaves 0 and 1 are the ledger's agreement and opening (docs/adr/0001-leaf-0-is-the-agreement.md).
    """

    def __init__(self, found: Examination, pins: Pins, ledger: bytes) -> None:
        self._found = found
        self._keyring = Keyring(pins, ledger)
        self._chains = Chains()
        self._size = 0
        self._first: Screened | None = None
        self._marks = array("Q")

    def take(self, bundle: Bundle) -> None:
        """Admit the next records."""
        if self._size == 0:
            self._show_ledger(bundle.bodies)
        keyring = self._keyring
        records = [self._record(at, entry, bundle) for at, entry in enumerate(bundle.entries)]
        batch = [
            (record.header, record.signature, stored)
            for record, stored in zip(records, bundle.bodies, strict=True)
        ]
        pins = keyring.pins
        results, shown = screen(
            batch, keyring.known, keyring.may_appear, pins.digest, pins.disclosures
        )
        for key in shown:
            keyring.show(key)
        for record, one in zip(records, results, strict=True):
            refusal = one if isinstance(one, Refusal) else self._admit(one)
            if refusal is not None and record is not _NO_RECORD:
                of_body = refusal.reason in _OF_BODIES
                place = bundle.bodies_path if of_body else bundle.entries_path
                self._note(place, self._size, refusal.reason, refusal.message)
            self._push(record)
            self._size += 1

    def _record(self, at: int, entry: bytes, bundle: Bundle) -> Record:
        try:
            return decode_record(entry)
        except RecordError as error:
            self._note(bundle.entries_path, self._size + at, error.reason, str(error))
            return _NO_RECORD

    def _admit(self, one: Screened) -> Refusal | None:
        if self._size < FOUNDED:
            return self._judge_founding(one)
        verdict = judge(one, self._chains, self._keyring)
        if isinstance(verdict, int):
            return self._judge_second(one, verdict)
        if verdict is None:
            self._keyring.heed(one.header, one.content)
        return verdict

    def _judge_second(self, one: Screened, place: int) -> Refusal | None:
        """Judge a second statement for a place: one an epoch may prove equivocation, by a key that was live."""
        chain = self._chains.epoch(one.header.author, one.header.epoch)
        if chain is None or chain.proof is not None or not self._keyring.is_live(one.header.key_id):
            return Refusal("FORK", f"record {place} holds this place of its chain already")
        if self._marks[place] == _mark(one.id):
            return Refusal("FORK", f"record {place} is this statement: it is logged twice")
        self._chains.contest(one.header, self._size)
        return None

    def _judge_founding(self, one: Screened) -> Refusal | None:
        header, ledger = one.header, self._keyring.ledger
        place = (header.kind, header.sequence, header.author)
        if self._size == 0:
            self._first = one
            fits = place == (Kind.AGREEMENT, 0, ledger)
        else:
            fits = (
                place == (Kind.OPENING, 1, ledger)
                and self._first is not None
                and header.epoch == self._first.header.epoch
                and header.previous == self._first.id
            )
        words = "leaves 0 and 1 are to be the ledger's agreement and opening"
        return None if fits else Refusal("NOT_AN_OPENING", words)

    def _show_ledger(self, bodies: Sequence[bytes | None]) -> None:
        """Learn the key that signs leaf 0 from the opening in leaf 1; its faults are told when it is admitted."""
        for stored in bodies[1:FOUNDED]:
            try:
                opening = parse_content(Kind.OPENING, decode_body(stored or b""))
                assert isinstance(opening, identity_pb2.Opening)  # noqa: S101 - for the type checker
                if key_digest(opening.key) == self._keyring.ledger:
                    self._keyring.show(VerifyingKey.from_spki(opening.key))
            except (BodyError, SignatureError):
                continue

    def _push(self, record: Record) -> None:
        """Let the chain go on from a record, good or not: what follows is not to blame for it."""
        ident = statement_id(record.header)
        self._marks.append(_mark(ident))
        try:
            header = decode_header(record.header)
        except HeaderError:
            return
        chain = self._chains.epoch(header.author, header.epoch)
        if chain is None or not chain.holds(header):
            self._chains.push(header, self._size, ident)

    def _note(self, place: str, index: int, reason: str, message: str) -> None:
        self._found.note(place, reason, f"record {index}: {message}")


def _mark(ident: bytes) -> int:
    """Return enough of a statement's id to tell it from another one."""
    return int.from_bytes(ident[:8], "big")
