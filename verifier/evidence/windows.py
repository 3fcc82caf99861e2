"""From a party's logged summaries to the columns of the accounts: which windows count, and why others do not.

A window counts when its body is held and is that of its header, cites its node's inventory, has the agreement's length
and place, was logged within the agreement's grace of its end, and comes from telemetry that may be judged. One that was
logged late, or before it can have been over, or for which ticks are wanting, can convict but not acquit: it is kept
apart, in ``admitting``.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protos.stillwatch.statement.v1 import identity_pb2, summary_pb2
from statements.body import decode_body
from statements.errors import BodyError, SealError
from statements.kinds import PUBLIC, Kind, parse_content
from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import ColumnsBuilder, Windows
from verifier.accounts.errors import ColumnsError
from verifier.accounts.expected import ExpectedNode
from verifier.agreement.model import Agreement, Party
from verifier.agreement.verifiability import REFERENCE_CHIP
from verifier.evidence.bulk import Bodies, Piece, join, read_bulk
from verifier.evidence.chains import ChainGap
from verifier.evidence.errors import KeyWithheldError, UnreadError
from verifier.evidence.gather import MOST_CHIPS, Evidence
from verifier.evidence.kept_back import holes_of, unserved_of, windows_in
from verifier.evidence.owed import (
    DEPARTED,
    NOT_ENROLLED,
    Roster,
    departed,
    expected_of,
    undeclared,
)
from verifier.evidence.records import Bools, Int64
from verifier.evidence.selection import select
from verifier.evidence.statement import EnrolledNode, NodeInventory
from verifier.rows.rows import Rows


class Excluded(Enum):
    """Why a logged window does not count as evidence."""

    LATE = "logged later than the agreement's grace allows"
    EARLY = "logged before it can have been over, by more than the agreement's grace"
    UNTIMED = "logged in time or not: ticks are wanting that would tell"
    MISALIGNED = "not a window of the agreement's length and place"
    BODY_MISSING = "its body is not held"
    BODY_MISMATCH = "what is served for its body is not what its header names"
    BODY_REFUSED = "its body is served as it was logged, and does not parse"
    UNOPENABLE = "its body is sealed as it was logged, and does not open for its class"
    KEY_WITHHELD = (
        "the content key that opens its body is in the log, which does not serve what it says"
    )
    UNREAD = "its body is sealed to a class none of whose keys this audit was given"
    NO_INVENTORY = (
        "it cites no inventory of its node that names each chip, each once, and not too many"
    )
    UNFIT = "it does not have the shape that it declares"
    UNLABELLED = "its epoch does not say how its telemetry was made"
    NOT_LIVE = "its telemetry is recorded or simulated, and the agreement is no rehearsal"
    OTHER_AGREEMENT = "its epoch was not opened under this agreement"


WITHHELD: Final = (Excluded.BODY_MISSING, Excluded.BODY_MISMATCH, Excluded.KEY_WITHHELD)
"""What keeps a window from being read by what the log serves, and not by what its author said."""

TELEMETRY: Final[Mapping[int, str]] = {
    identity_pb2.TELEMETRY_LIVE: "live",
    identity_pb2.TELEMETRY_RECORDED: "recorded",
    identity_pb2.TELEMETRY_SIMULATED: "simulated",
}
"""The labels of telemetry, as openings give them."""


@dataclass(frozen=True, slots=True)
class ExcludedWindow:
    """A logged window that does not count: its row in the records, why, and what was wrong with it."""

    row: int
    why: Excluded
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class PartyWindows:
    """A party's windows around a period.

    ``nodes`` are its enrolled nodes by index; ``expected`` who must account, with nodes of their own for chips that are
    owed and shown by nobody; ``rosters`` the uuids of the chips that the windows' numbers stand for, ``claims`` the row
    of the inventory by which a node (index) first named a roster (number). ``windows`` are
    those that count, ``rows`` their rows in the records; ``excused`` also those for which ticks are wanting;
    ``admitting`` all that can be read, since what was logged late or early counts against the party. ``telemetry`` are
    the labels under which any of them was made.
    """

    party: str
    nodes: tuple[EnrolledNode, ...]
    expected: tuple[ExpectedNode, ...]
    rosters: tuple[tuple[str, ...], ...] = field(repr=False)
    claims: Mapping[tuple[int, int], int] = field(repr=False)
    windows: Windows = field(repr=False)
    rows: Int64 = field(repr=False)
    excused: Windows = field(repr=False)
    admitting: Windows = field(repr=False)
    admitting_rows: Int64 = field(repr=False)
    excluded: tuple[ExcludedWindow, ...] = field(repr=False)
    telemetry: tuple[str, ...]
    closed: tuple[tuple[int, int, int], ...] = ()
    """Node (index), start and end of each window that was said in time, and not read: for want of a key, of a body that
    the log does not serve, or of the record itself, where the chain has a hole. Each once, and none that counts all the
    same."""
    dropped: int = 0
    """Statements that the nodes said and the log does not hold, as the holes in their chains show."""
    speechless: int = 0
    """Public statements of the party and its nodes whose bodies the log does not serve."""

    def excluded_for(self, *why: Excluded) -> list[ExcludedWindow]:
        """Return the windows excluded for any of some reasons."""
        return [window for window in self.excluded if window.why in why]

    @property
    def unread(self) -> dict[str, int]:
        """How many windows are sealed to each class that the audit could not open."""
        return Counter(window.detail for window in self.excluded_for(Excluded.UNREAD))

    @property
    def withheld(self) -> int:
        """How many windows cannot be read by what the log serves."""
        return len(self.excluded_for(*WITHHELD))

    @property
    def untimed(self) -> bool:
        """Whether some window may have been in time, had there been ticks."""
        return any(window.why is Excluded.UNTIMED for window in self.excluded)


def party_windows(
    agreement: Agreement,
    evidence: Evidence,
    party: Party,
    period: tuple[int, int],
    table: ChipTable,
) -> PartyWindows:
    """Return a party's windows that touch ``period`` (Unix ms, end excluded), and each node's nearest beside it."""
    return _Reader(agreement, evidence, party, period, table).run()


class _Reader:
    """The moving parts of reading one party's windows."""

    def __init__(
        self,
        agreement: Agreement,
        evidence: Evidence,
        party: Party,
        period: tuple[int, int],
        table: ChipTable,
    ) -> None:
        self.agreement = agreement
        self.evidence = evidence
        self.party = party
        self.period = period
        self.table = table
        self.row = functools.cache(table.row)
        self.nodes = tuple(node for node in evidence.nodes if node.party == party.id)
        self.index = {node.node_id: at for at, node in enumerate(self.nodes)}
        self.rosters: dict[tuple[str, ...], int] = {}
        self.models: dict[tuple[int, bytes], tuple[int, ...]] = {}
        self.roster_of: dict[tuple[int, bytes], int] = {}
        self.claims: dict[tuple[int, int], int] = {}
        self.shown: list[Roster] = []
        self.newest: dict[int, tuple[int, tuple[int, ...]]] = {}
        for inventory in evidence.inventories:
            if evidence.chains.authentic[inventory.row] and inventory.author in self.index:
                self._list(inventory)
        self.openings = {
            int(evidence.records.chain[opening.row]): opening.message
            for opening in evidence.openings
            if evidence.chains.authentic[opening.row]
            and evidence.records.sequence[opening.row] == 0
        }
        self.excluded: list[ExcludedWindow] = []
        self.labels: set[str] = set()
        self.opened: dict[int, bytes] = {}

    def _list(self, inventory: NodeInventory) -> None:
        """Take up a node's inventory; one that does not tell its chips apart, or has too many, lists nothing."""
        chips = inventory.message.chips
        uuids = tuple(chip.uuid for chip in chips)
        if not all(uuids) or len(set(uuids)) < len(uuids) or len(uuids) > MOST_CHIPS:
            return
        node = self.index[inventory.author]
        key = node, inventory.body_digest
        self.models[key] = tuple(
            self.row(chip.model if chip.HasField("model") else None) for chip in chips
        )
        roster = self.roster_of[key] = self.rosters.setdefault(uuids, len(self.rosters))
        self.claims.setdefault((node, roster), inventory.row)
        if self.newest.get(node) == (roster, self.models[key]):
            return  # said again, as after a restart
        self.newest[node] = roster, self.models[key]
        records, time = self.evidence.records, self.evidence.time
        index = int(records.index[inventory.row])
        from_ms = min(int(records.start_ms[inventory.row]), int(time.not_before_ms[index]))
        self.shown.append(Roster(node, from_ms, dict(zip(uuids, self.models[key], strict=True))))

    def run(self) -> PartyWindows:
        rows = self._judged(self._rows())
        bodies = self._bodies(rows)
        pieces, left = read_bulk(bodies)
        slow, refused = self._one_by_one(bodies, rows, left)
        windows = join([*pieces, *slow])
        read = np.delete(rows, refused)
        return self._sorted_by_time(windows, read)

    def _judged(self, rows: Int64) -> Int64:
        """Return the rows whose epoch, place and body are in order; the others are excluded."""
        records, bodies = self.evidence.records, Rows.of(self.evidence.prefix.bodies)
        length = self.agreement.pins.window_ms
        start, end = records.start_ms[rows], records.end_ms[rows]
        stored = bodies.take(records.index[rows])
        served, held = _words(stored.take(stored.held).digests()), stored.held
        named = _words(records.table["stored_digest"][rows])
        matching = held.copy()
        matching[held] = (served == named[held]).all(axis=1)
        public = records.table["disclosure"][rows] == PUBLIC
        sealed = (_words(records.table["body_digest"][rows]) != named).any(axis=1)
        labels = self._labels(rows)
        unfit = {label for label in labels.values() if isinstance(label, Excluded)}
        chains = records.chain[rows]
        kept = np.ones(len(rows), dtype=np.bool_)
        for why, wrong in (
            *(
                (why, np.isin(chains, [c for c, label in labels.items() if label is why]))
                for why in unfit
            ),
            (Excluded.MISALIGNED, (start % length != 0) | (end - start != length)),
            (Excluded.BODY_MISSING, ~held),
            (Excluded.BODY_MISMATCH, ~matching),
            (Excluded.BODY_REFUSED, public & sealed),
        ):
            self.excluded += [
                ExcludedWindow(row, why, why.value) for row in rows[wrong & kept].tolist()
            ]
            kept &= ~wrong
        for at in np.flatnonzero(kept & ~public).tolist():
            kept[at] = self._open(int(rows[at]), stored[at] or b"")
        return rows[kept]

    def _open(self, row: int, stored: bytes) -> bool:
        """Open a sealed body; one that does not open is excluded."""
        try:
            self.opened[row] = self.evidence.opener.open(self.evidence.records, row, stored)
        except KeyWithheldError as error:
            self.excluded.append(ExcludedWindow(row, Excluded.KEY_WITHHELD, str(error)))
        except UnreadError as error:
            self.excluded.append(ExcludedWindow(row, Excluded.UNREAD, str(error)))
        except SealError as error:
            self.excluded.append(ExcludedWindow(row, Excluded.UNOPENABLE, str(error)))
        return row in self.opened

    def _bodies(self, rows: Int64) -> Bodies:
        records = self.evidence.records
        stored = Rows.of(self.evidence.prefix.bodies).take(records.index[rows])
        if self.opened:
            places = [at for at, row in enumerate(rows.tolist()) if row in self.opened]
            opened = [self.opened[row] for row in rows[places].tolist()]
            stored = stored.with_strings(np.array(places), opened)
        return Bodies(
            stored=stored.all_held(),
            node=self._nodes_of_chains()[records.chain[rows]],
            start_ms=records.start_ms[rows],
            end_ms=records.end_ms[rows],
            models=self.models,
            rosters=self.roster_of,
        )

    def _one_by_one(
        self, bodies: Bodies, rows: Int64, left: Int64
    ) -> tuple[list[Piece], list[int]]:
        """Read what could not be read in bulk; return it, and the places of what is refused."""
        builder = ColumnsBuilder()
        read: list[int] = []
        boots: list[int] = []
        refused: list[int] = []
        for at in left.tolist():
            node = int(bodies.node[at])
            try:
                summary, models = self._summary(bodies, at)
                span = int(bodies.start_ms[at]), int(bodies.end_ms[at])
                builder.add(
                    node,
                    *span,
                    summary,
                    models,
                    roster=bodies.rosters[node, summary.inventory],
                )
            except _Refused as error:
                self.excluded.append(ExcludedWindow(int(rows[at]), error.why, error.detail))
                refused.append(at)
            except ColumnsError as error:
                self.excluded.append(ExcludedWindow(int(rows[at]), Excluded.UNFIT, str(error)))
                refused.append(at)
            else:
                read.append(at)
                boots.append(bodies.boots.setdefault((node, summary.boot_id), len(bodies.boots)))
        built = builder.build()
        boot = np.array(boots, dtype=np.int32)
        windows = Windows(
            replace(built.chips, boot=boot[built.chips.window]), replace(built.nodes, boot=boot)
        )
        return [Piece(np.array(read, dtype=np.int64), windows)], refused

    @staticmethod
    def _summary(bodies: Bodies, at: int) -> tuple[summary_pb2.WorkloadSummary, tuple[int, ...]]:
        """Return what a body says, and the models of its chips; raises :class:`_Refused`."""
        try:
            summary = parse_content(Kind.SUMMARY, decode_body(bodies.stored[at]))
        except BodyError as error:
            raise _Refused(Excluded.BODY_REFUSED, str(error)) from None
        assert isinstance(summary, summary_pb2.WorkloadSummary)  # noqa: S101 - for the type checker
        models = bodies.models.get((int(bodies.node[at]), summary.inventory))
        if models is None:
            raise _Refused(Excluded.NO_INVENTORY, Excluded.NO_INVENTORY.value)
        return summary, models

    def _sorted_by_time(self, windows: Windows, rows: Int64) -> PartyWindows:
        """Return the windows, those that were not logged in time set apart."""
        timing = self._timing(rows)
        for why, untimely in timing.items():
            self.excluded += [
                ExcludedWindow(row, why, why.value) for row in rows[untimely].tolist()
            ]
        unclear = timing[Excluded.UNTIMED]
        timely = ~(timing[Excluded.LATE] | timing[Excluded.EARLY] | unclear)
        counting = select(windows, timely)
        holes = holes_of(self.evidence, self.index, self.agreement.pins.late_grace_ms)
        return PartyWindows(
            party=self.party.id,
            nodes=self.nodes,
            expected=tuple(self._expected()),
            rosters=tuple(self.rosters),
            claims=self.claims,
            windows=counting,
            rows=rows[timely],
            excused=select(windows, timely | unclear),
            admitting=windows,
            admitting_rows=rows,
            excluded=tuple(sorted(self.excluded, key=lambda window: window.row)),
            telemetry=tuple(sorted(self.labels)),
            closed=self._closed(counting, holes),
            dropped=sum(hole.missing for hole in holes),
            speechless=unserved_of(self.evidence, {self.party.key, *self.index}),
        )

    def _closed(
        self, counting: Windows, holes: Sequence[ChainGap]
    ) -> tuple[tuple[int, int, int], ...]:
        records, node_of = self.evidence.records, self._nodes_of_chains()
        unread = [w.row for w in self.excluded if w.why in {*WITHHELD, Excluded.UNREAD}]
        rows = np.array(sorted(unread), dtype=np.int64)
        timing = self._timing(rows)
        rows = rows[~(timing[Excluded.LATE] | timing[Excluded.EARLY])]
        said = zip(
            node_of[records.chain[rows]].tolist(),
            records.start_ms[rows].tolist(),
            records.end_ms[rows].tolist(),
            strict=True,
        )
        length = self.agreement.pins.window_ms
        closed = {*said, *windows_in(holes, self.evidence, self.index, self.period, length)}
        if not closed:
            return ()
        nodes = counting.nodes
        read = set(zip(nodes.node.tolist(), nodes.start_ms.tolist(), strict=True))
        return tuple(sorted(one for one in closed if one[:2] not in read))

    def _rows(self) -> Int64:
        """Return the rows of the nodes' authentic summaries in or beside the period, in log order."""
        records = self.evidence.records
        summaries: Bools = (records.kind == int(Kind.SUMMARY)) & self.evidence.chains.authentic
        node_of = self._nodes_of_chains()
        node = np.where(summaries, node_of[records.chain], -1)
        inside: Bools = (
            (node >= 0) & (records.start_ms < self.period[1]) & (records.end_ms > self.period[0])
        )
        chosen = [np.flatnonzero(inside)]
        # Beside the period, each node's nearest: the first logged, where several are as near.
        for side, key in (
            (records.end_ms <= self.period[0], -records.end_ms),
            (records.start_ms >= self.period[1], records.start_ms),
        ):
            rows = np.flatnonzero((node >= 0) & side)
            order = rows[np.lexsort((key[rows], node[rows]))]
            chosen.append(order[np.flatnonzero(np.diff(node[order], prepend=-1))])
        wanted: Bools = np.zeros(len(records), dtype=np.bool_)
        wanted[np.concatenate(chosen)] = True
        return np.flatnonzero(wanted).astype(np.int64)

    def _nodes_of_chains(self) -> Int64:
        """Return, for each chain, the index of the party's node that speaks in it; -1 for others."""
        records = self.evidence.records
        found = np.full(len(records.first), -1, dtype=np.int64)
        for chain, row in enumerate(records.first.tolist()):
            found[chain] = self.index.get(records.text("author", row), -1)
        return found

    def _timing(self, rows: Int64) -> dict[Excluded, Bools]:
        """Return which rows were not logged in time, or may not have been."""
        records, time = self.evidence.records, self.evidence.time
        grace, index = self.agreement.pins.late_grace_ms, records.index[rows]
        deadline = records.end_ms[rows] + grace
        late = time.not_before_ms[index] > deadline
        return {
            Excluded.LATE: late,
            # Clocks may differ by as much as the grace; more, and somebody made up what had not happened yet.
            Excluded.EARLY: time.not_after_ms[index] < records.end_ms[rows] - grace,
            Excluded.UNTIMED: ~late & (time.not_after_ms[index] > deadline),
        }

    def _labels(self, rows: Int64) -> dict[int, str | Excluded]:
        """Return, for each chain, the label of its telemetry, or why its windows do not count."""
        labels: dict[int, str | Excluded] = {}
        for chain in np.flatnonzero(np.bincount(self.evidence.records.chain[rows])).tolist():
            opening = self.openings.get(chain)
            if opening is None or self.agreement.digest not in opening.agreements:
                labels[chain] = Excluded.OTHER_AGREEMENT
                continue
            label = TELEMETRY.get(opening.telemetry)
            if label is None:
                labels[chain] = Excluded.UNLABELLED
                continue
            self.labels.add(label)
            live = label == "live" or self.agreement.rehearsal
            labels[chain] = label if live else Excluded.NOT_LIVE
        return labels

    def _expected(self) -> Iterable[ExpectedNode]:
        for at, node in enumerate(self.nodes):
            yield ExpectedNode(
                index=at,
                node_id=node.node_id.hex(),
                models=(self.row(node.chip_model),) * node.chips,
                accounted_from_ms=node.accounted_from_ms,
            )
        reference = self.table.row(REFERENCE_CHIP)
        owed = [
            (NOT_ENROLLED, (reference,) * count, span)
            for count, span in undeclared(self.nodes, self.party.declared_h100e, self.table)
        ]
        chips = [node.chips for node in self.nodes]
        owed += [(DEPARTED, *found) for found in departed(self.shown, chips, self.table)]
        yield from expected_of(owed, len(self.nodes), self.period)


def _words(digests: "bytes | NDArray[np.void]") -> NDArray[np.uint64]:
    """Return digests as numbers, [n, 4], which compare sooner than bytes."""
    return np.frombuffer(bytes(digests), dtype="<u8").reshape(-1, 4)


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """A window does not count."""

    def __init__(self, why: Excluded, detail: str) -> None:
        super().__init__(detail)
        self.why = why
        self.detail = detail
