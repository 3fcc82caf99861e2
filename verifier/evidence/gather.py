"""From a verified prefix of a log to what was said in it, by whom, and when. Pure.

1. Records are read from the leaves; leaf 0 must be the agreement.
2. Statements other than summaries are taken in log order: their bodies are opened, keys become live by openings of
   pinned keys and by enrolments, and each statement's signature is verified (many together, ahead).
3. Ticks are verified, and give every index its time.
4. Chains are followed: they authenticate the summaries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import (
    governance_pb2,
    identity_pb2,
    inventory_pb2,
    log_pb2,
)
from statements.body import decode_body, verify_stored
from statements.errors import BodyError, KeyLifeError, SealError, SignatureError
from statements.key_lives import Deed
from statements.kinds import PUBLIC, SEALABLE, Kind, parse_content
from statements.log_trust import LogTrust
from statements.pins import LedgerPin, Pin, Pins, agreement_digest
from statements.sealing import ReadingKey
from statements.signing import VerifyingKey, key_digest
from verifier.agreement.model import Agreement
from verifier.evidence.chains import Chains, LiveKey, follow_chains
from verifier.evidence.errors import EvidenceError, KeyWithheldError, UnreadError
from verifier.evidence.keys import LoggedKeys, Places, Replacement
from verifier.evidence.opening import Opener, Unread
from verifier.evidence.records import Bools, Int64, Records, read_records
from verifier.evidence.statement import (
    UNSERVED,
    EnrolledNode,
    Fault,
    LoggedStatement,
    NodeInventory,
    NodeOpening,
)
from verifier.evidence.ticks import FalseTick, LogTime, Tick, judge_tick, read_time
from verifier.evidence.vouching import Vouched, possessions, shown_keys
from verifier.instants import LAST_MS
from verifier.mirror.prefix import LogPrefix, fetch_prefix, served_log
from verifier.mirror.source import FolderSource

MOST_CHIPS: Final = 4096
"""Chips that one node may enrol."""
_ACCOUNTED_FROM_LOGGED: Final = 2**62
"""Stands for: from when the enrolment was logged."""
_SHOW_KEYS: Final = frozenset({Kind.OPENING, Kind.ENROLMENT, Kind.ROTATION})
_MOST_TOLD: Final = 100
"""Faults of one kind that are told one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a log's prefix shows.

    ``said`` are the statements of those whom the agreement pins, in log order; ``nodes``, ``openings`` and
    ``inventories`` what parties and nodes said of nodes. Summaries stay in ``records``: those that
    ``chains.authentic`` names. ``keys`` are those that ever could speak, by digest, ``replacements`` the lost ones that
    somebody else replaced. ``faults`` are the ledger's.
    ``opener`` opens what is sealed, as far as the audit holds keys; ``unread`` are statements other than summaries
    that it did not open.
    """

    prefix: LogPrefix = field(repr=False)
    records: Records = field(repr=False)
    time: LogTime = field(repr=False)
    chains: Chains = field(repr=False)
    said: tuple[LoggedStatement, ...]
    nodes: tuple[EnrolledNode, ...]
    openings: tuple[NodeOpening, ...]
    inventories: tuple[NodeInventory, ...]
    keys: Mapping[bytes, LiveKey] = field(repr=False)
    replacements: tuple[Replacement, ...]
    faults: tuple[Fault, ...]
    opener: Opener = field(repr=False)
    unread: tuple[Unread, ...]

    @property
    def as_of_ms(self) -> int:
        """The time up to which the log is known: that of its newest tick, Unix ms."""
        return self.time.as_of_ms


def read_evidence(mirror: Path, agreement: Agreement) -> Evidence:
    """Return the evidence in a mirror's folder, which is verified again.

    Raises :class:`VerifierError` when the folder holds no log that the agreement lists.
    """
    source = FolderSource(mirror)
    return gather(agreement.pins, fetch_prefix(source, served_log(source, agreement.pins)))


def gather(pins: Pins, prefix: LogPrefix, readers: Sequence[ReadingKey] = ()) -> Evidence:
    """Return what a verified prefix shows, in the steps of this module; ``readers`` open what is sealed to them.

    Raises :class:`EvidenceError` when the log does not begin with the agreement.
    """
    return _Gatherer(pins, prefix, readers).run()


@dataclass(slots=True)
class _Spoken:
    """A statement other than a summary, its body opened and its signature not yet judged."""

    row: int
    kind: Kind
    author: bytes
    message: Message


class _Gatherer:
    """The moving parts of one reading."""

    def __init__(self, pins: Pins, prefix: LogPrefix, readers: Sequence[ReadingKey]) -> None:
        self.pins = pins
        self.opener = Opener(pins.disclosures, readers)
        self.unread: list[Unread] = []
        self.prefix = prefix
        self.ledger: LedgerPin = pins.ledger(prefix.origin)
        self.trust = LogTrust.of(pins, self.ledger)
        self.records = read_records(prefix.entries)
        self.vouched = Vouched()
        self.lives = LoggedKeys(pins, self.vouched.verify)
        self.keys = self.lives.by_digest
        self.enrolled: dict[tuple[bytes, str], EnrolledNode] = {}
        self.verified: Bools = np.zeros(len(self.records), dtype=np.bool_)
        self.places = Places(self.records, self.vouched.verify)
        self.spoken: list[_Spoken] = []
        self.deeds: dict[int, Message | None] = {}
        self.faults = [
            Fault("NOT_A_RECORD", index, f"the leaf at {index} is refused: {why}")
            for index, why in self.records.refused
        ]

    def run(self) -> Evidence:
        # 1. Leaf 0.
        self._verify_leaf_0()
        # 2. Everything but summaries, in log order.
        rows = np.flatnonzero(self.records.kind != int(Kind.SUMMARY))
        self._vouch(rows)
        for row in rows.tolist():
            self._hear(row)
        self._judge_leaf_0()
        # 3. Time.
        time = self._time()
        # 4. Chains.
        chains = follow_chains(self.records, self.keys, self.verified, self.prefix)
        self._tell_chains(chains)
        return Evidence(
            prefix=self.prefix,
            records=self.records,
            time=time,
            chains=chains,
            said=tuple(self._said(time, chains.authentic)),
            nodes=tuple(self._settled(time)),
            openings=tuple(
                NodeOpening(one.row, one.author, one.message)
                for one in self.spoken
                if isinstance(one.message, identity_pb2.Opening)
                and one.author not in self.pins.by_key
                and one.author not in self.pins.by_recovery
            ),
            inventories=tuple(
                NodeInventory(
                    one.row, one.author, self.records.text("body_digest", one.row), one.message
                )
                for one in self.spoken
                if isinstance(one.message, inventory_pb2.Inventory)
            ),
            keys=self.keys,
            replacements=tuple(self.lives.replacements),
            faults=tuple(sorted(self.faults, key=lambda fault: fault.index)),
            opener=self.opener,
            unread=tuple(self.unread),
        )

    def _verify_leaf_0(self) -> None:
        records = self.records
        if not len(records) or records.index[0] != 0 or records.kind[0] != int(Kind.AGREEMENT):
            raise EvidenceError(
                "NO_AGREEMENT", f"the log {self.prefix.origin} does not begin with an agreement"
            )
        content = self._content(0)
        if not isinstance(content, governance_pb2.Agreement):
            raise EvidenceError(
                "AGREEMENT_MISSING",
                f"the log {self.prefix.origin} does not serve its first record's body, the agreement: "
                f"{self.faults[-1].message}",
            )
        text = content.text
        if agreement_digest(text) != self.pins.digest:
            raise EvidenceError(
                "OTHER_AGREEMENT",
                f"the log {self.prefix.origin} serves another agreement than the one given, whose digest is "
                f"sha256:{self.pins.digest.hex()}",
            )

    def _judge_leaf_0(self) -> None:
        """Verify the first record once the ledger's opening, which follows it, has shown its key."""
        if not self.verified[0]:
            raise EvidenceError(
                "AGREEMENT_UNSIGNED",
                f"leaf 0 of {self.prefix.origin} is not signed by the ledger's key that the agreement pins",
            )

    def _content(self, row: int) -> Message | None:
        """Return what a public statement says; ``None``, and a fault, when its body is missing or not its own."""
        index = int(self.records.index[row])
        body = self.prefix.bodies[index]
        kind = Kind(int(self.records.kind[row]))
        if body is None:
            if kind in SEALABLE:
                return None  # may be withheld
            self._fault("BODY_MISSING", row, f"the body of the {kind.name} statement is not served")
            return None
        try:
            verify_stored(body, self.records.text("stored_digest", row))
            if self.records.table["disclosure"][row] != PUBLIC:
                body = self.opener.open(self.records, row, body)
            return parse_content(kind, decode_body(body))
        except KeyWithheldError:
            pass  # told with the key
        except (UnreadError, SealError) as error:
            charged = isinstance(error, SealError)
            self.unread.append(Unread(row, str(error), charged=charged))
        except BodyError as error:
            self._fault(error.reason, row, f"the body of the {kind.name} statement: {error}")
        return None

    def _vouch(self, rows: Int64) -> None:
        """Verify together the signatures of rows whose keys may come to speak, and nodes' proofs of possession.

        Keys that nobody vouched for are not looked at: a log may be full of them.
        """
        records, pins = self.records, self.pins
        shows = np.isin(records.kind[rows], [int(kind) for kind in _SHOW_KEYS])
        self.deeds = {row: self._content(row) for row in rows[shows].tolist()}
        authors = {row: records.text("author", row) for row in self.deeds}
        told = [
            (authors[row], deed)
            for row, deed in self.deeds.items()
            if isinstance(deed, identity_pb2.Rotation)
            or authors[row] in pins.by_key
            or authors[row] in pins.by_recovery
        ]
        key_ids = [records.text("key_id", row) for row in rows.tolist()]
        nodes = [
            key_digest(deed.node_key)
            for _, deed in told
            if isinstance(deed, identity_pb2.Enrolment)
        ]
        keys = shown_keys([deed for _, deed in told], [*key_ids, *nodes])
        said = [
            (keys[key_id], records.ids[row], records.signature(row))
            for row, key_id in zip(rows.tolist(), key_ids, strict=True)
            if key_id in keys
        ]
        self.vouched.verify_together([*said, *possessions(told, keys, pins.digest)])

    def _hear(self, row: int) -> None:
        content = self.deeds.pop(row) if row in self.deeds else self._content(row)
        author, key_id = self.records.text("author", row), self.records.text("key_id", row)
        if isinstance(content, identity_pb2.Opening) and key_id == author:
            self._show_key(row, author, content)
        live = self.keys.get(key_id)
        if live is None:
            if row:  # leaf 0 precedes the opening that shows its key
                return  # a stranger's: told with the chains
        elif live.author != author or self.records.index[row] > live.until_index:
            return  # somebody else's key, or one that had ended: told with the chains
        elif not self._signed(row, live.key):
            return
        if content is None:
            if (
                self.records.kind[row] == int(Kind.CONTENT_KEY)
                and self.faults[-1].reason in UNSERVED
            ):
                self.opener.miss(row, author)
            return
        if live is not None and self.places.is_taken(row, self.keys):
            pass  # logged second for its place: it proves a fork, and does nothing to keys
        elif isinstance(content, Deed) or author in self.pins.by_recovery:
            self._heed(row, content)
        elif isinstance(content, identity_pb2.ContentKey):
            self.opener.hear(row, author, content)
        self.spoken.append(_Spoken(row, Kind(int(self.records.kind[row])), author, content))
        if isinstance(content, identity_pb2.Opening) and row and not self.verified[0]:
            self._verify_first(author)

    def _verify_first(self, author: bytes) -> None:
        if author == self.records.text("author", 0) == self.ledger.key_id:
            self._signed(0, self.keys[author].key)

    def _signed(self, row: int, key: VerifyingKey) -> bool:
        try:
            self.vouched.verify(key, self.records.ids[row], self.records.signature(row))
        except SignatureError:
            return False  # told with the chains
        self.verified[row] = True
        return True

    def _show_key(self, row: int, author: bytes, opening: identity_pb2.Opening) -> None:
        pinned = author in self.pins.by_key or author in self.pins.by_recovery
        if author in self.keys or not pinned or key_digest(opening.key) != author:
            return
        try:
            self.lives.show(VerifyingKey.from_spki(opening.key))
        except SignatureError as error:
            self._fault("MALFORMED_BODY", row, f"the opening's key: {error}")

    def _heed(self, row: int, deed: Message) -> None:
        header, index = self.records.header(row), int(self.records.index[row])
        try:
            key = self.lives.heed(header, row, index, deed)
        except (BodyError, SignatureError, KeyLifeError) as error:
            self._fault(error.reason, row, str(error))
            return
        if isinstance(deed, identity_pb2.Enrolment) and key is not None:
            self._enrol(row, self.pins.by_key[header.author], key, deed)

    def _enrol(
        self, row: int, party: Pin, key: VerifyingKey, enrolment: identity_pb2.Enrolment
    ) -> None:
        index = int(self.records.index[row])
        from_ms = enrolment.accounted_from if enrolment.HasField("accounted_from") else None
        model = enrolment.chip_model if enrolment.HasField("chip_model") else None
        fresh = EnrolledNode(
            node_id=key.key_id,
            party=party.id,
            site=enrolment.site,
            name=enrolment.name,
            chips=min(enrolment.chips, MOST_CHIPS),
            chip_model=model,
            # No date lies beyond, and columns hold no larger number.
            accounted_from_ms=_ACCOUNTED_FROM_LOGGED if from_ms is None else min(from_ms, LAST_MS),
            index=index,
        )
        known = self.enrolled.get((key.key_id, party.id))
        self.enrolled[key.key_id, party.id] = fresh if known is None else _merged(known, fresh)

    def _time(self) -> LogTime:
        ticks: list[Tick] = []
        false: list[FalseTick] = []
        for one in self.spoken:
            message = one.message
            if not isinstance(message, log_pb2.Tick) or not self.verified[one.row]:
                continue
            if one.author != self.ledger.key_id or not message.HasField("time"):
                self._fault("BAD_TICK", one.row, "a tick is not the ledger's, or has no time")
                continue
            index = int(self.records.index[one.row])
            time_ms = min(message.time, LAST_MS)
            found = judge_tick(self.prefix, self.trust, index, message.checkpoint, time_ms)
            if isinstance(found, FalseTick):
                false.append(found)
            else:
                ticks.append(found)
        time = read_time(self.prefix.size, ticks, false)
        for tick_fault in time.false:
            self.faults.append(
                Fault(
                    tick_fault.reason,
                    tick_fault.index,
                    tick_fault.message,
                    (tick_fault.note, self.prefix.note),
                )
            )
        return time

    def _tell_chains(self, chains: Chains) -> None:
        for reason, rows, words in (
            ("BAD_SIGNATURE", chains.forged, "is not signed by its author"),
            ("UNKNOWN_KEY", chains.strangers, "is by a key that nobody made live before it"),
            ("REVOKED_KEY", chains.ended, "is by a key that was rotated away or revoked before it"),
            ("LOGGED_TWICE", chains.repeated, "was logged before"),
        ):
            for row in rows[:_MOST_TOLD]:
                self._fault(reason, row, f"the statement at {self.records.index[row]} {words}")

    def _said(self, time: LogTime, authentic: Bools) -> list[LoggedStatement]:
        said: list[LoggedStatement] = []
        seen: set[bytes] = set()
        for one in self.spoken:
            pin = self._pin(one.author)
            ident = self.records.ids[one.row]
            if pin is None or not authentic[one.row] or ident in seen:
                continue
            seen.add(ident)
            index = int(self.records.index[one.row])
            said.append(
                LoggedStatement(
                    index=index,
                    statement_id=ident,
                    header=self.records.header(one.row),
                    role=pin.role,
                    name=pin.id,
                    message=one.message,
                    logged_ms=time.clamp(index, int(self.records.logged_at_ms[one.row])),
                    not_before_ms=int(time.not_before_ms[index]),
                    not_after_ms=int(time.not_after_ms[index]),
                )
            )
        return said

    def _pin(self, author: bytes) -> Pin | None:
        return self.pins.by_key.get(author)

    def _settled(self, time: LogTime) -> list[EnrolledNode]:
        """Return the nodes, each accounted for from when its enrolment says, else from when it was logged."""
        return [
            replace(node, accounted_from_ms=max(0, int(time.not_before_ms[node.index])))
            if node.accounted_from_ms == _ACCOUNTED_FROM_LOGGED
            else node
            for node in self.enrolled.values()
        ]

    def _fault(self, reason: str, row: int, message: str) -> None:
        self.faults.append(Fault(reason, int(self.records.index[row]), message))


def _merged(known: EnrolledNode, fresh: EnrolledNode) -> EnrolledNode:
    """Return a node that its party enrolled twice: what counts for more of each claim."""
    return replace(
        known,
        chips=max(known.chips, fresh.chips),
        chip_model=known.chip_model if known.chip_model == fresh.chip_model else None,
        accounted_from_ms=min(known.accounted_from_ms, fresh.accounted_from_ms),
    )
