"""Many summaries at once into the columns of the accounts, without a message object a summary.

Bodies of one length are looked at as a matrix, and read by the layout of the first; those that do not have it are read
by the layout of the first of those, and so on for a few layouts. What is left, and everything out of the ordinary, goes
through :class:`ColumnsBuilder` one by one, which decides what is wrong with it. Both ways give the same columns: a test
holds them to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from protos.stillwatch.statement.v1 import summary_pb2
from statements.features import FEATURE_SET, MISSING_COUNTER, WIDTH
from verifier.accounts.columns import (
    ChipWindows,
    Float64,
    Int32,
    Int64,
    NodeWindows,
    PowerSlots,
    Uint64,
    Windows,
)
from verifier.evidence.layout import Fields, Path, read_layout
from verifier.evidence.records import Bools, Octets
from verifier.instants import LAST_MS
from verifier.rows.numbering import number_rows
from verifier.rows.rows import Rows

MOST_LAYOUTS: Final = 16
"""Layouts that are tried for bodies of one length."""
FEW: Final = 16
"""Bodies of one length that are worth stacking."""

_F: Final = {field.name: field.number for field in summary_pb2.WorkloadSummary.DESCRIPTOR.fields}
_P: Final = {field.name: field.number for field in summary_pb2.PowerSeries.DESCRIPTOR.fields}
_N: Final = {field.name: field.number for field in summary_pb2.NodeCounters.DESCRIPTOR.fields}
_COUNTERS: Final = ("energy_start_mj", "energy_end_mj", "energy_start_at", "energy_end_at")
_SLOT_MS: Final[Path] = (_F["power"], _P["slot_ms"])
_READ: Final[frozenset[Path]] = frozenset(
    {
        *(
            (_F[name],)
            for name in ("inventory", "boot_id", "feature_set", "chip_features", *_COUNTERS)
        ),
        *((_F[name],) for name in ("samples_expected", "samples_taken", "largest_gap_ms")),
        *(
            (_F["node"], _N[name])
            for name in ("wall_energy_joules", "wall_covered_ms", "wall_resolution_watts")
        ),
        _SLOT_MS,
    }
)
"""What is read of each body; power series stay in it."""
_SERIES: Final = ("wall_slots", "chip_slots")
Boots = dict[tuple[int, bytes], int]
"""Numbers of the boots of nodes."""
Seat = tuple[int, int, int]
"""Numbers of a window's models in :attr:`Bodies.kinds`, of its roster and of its boot; -1 where it cites nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """Stored bodies of summaries whose digests were verified, and what their headers and inventories say.

    ``models`` maps a node and an inventory's digest to the chip table's rows of its chips, ``rosters`` to the number of
    the chips themselves. ``boots`` numbers the boots met so far, and ``kinds`` lists the models of the inventories
    cited so far.
    """

    stored: Rows[bytes]
    node: Int64
    start_ms: Int64
    end_ms: Int64
    models: Mapping[tuple[int, bytes], tuple[int, ...]]
    rosters: Mapping[tuple[int, bytes], int]
    boots: Boots = field(default_factory=dict)
    kinds: list[tuple[int, ...]] = field(default_factory=list)

    def seats(self, node: Int64, inventory: Octets, boot: Octets) -> Int32:
        """Return the seats of windows, [n, 3], whose bodies cite ``inventory`` [n, 32] and ``boot`` [n, 16]."""
        cited = np.concatenate(
            [node.astype("<i4").view(np.uint8).reshape(-1, 4), inventory, boot], axis=1
        )
        which, first = number_rows(cited, node)
        seats = [self._seat(int(node[at]), cited[at].tobytes()) for at in first.tolist()]
        found: Int32 = np.array(seats, dtype=np.int32).reshape(-1, 3)[which]
        return found

    def _seat(self, node: int, cited: bytes) -> Seat:
        inventory, boot = cited[4:36], cited[36:]
        models = self.models.get((node, inventory))
        if models is None:
            return (-1, -1, -1)
        if models not in self.kinds:
            self.kinds.append(models)
        number = self.boots.setdefault((node, boot), len(self.boots))
        return (self.kinds.index(models), self.rosters[node, inventory], number)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Windows that were read together; ``places`` are theirs among all bodies, ascending."""

    places: Int64
    windows: Windows


def read_bulk(bodies: Bodies, few: int = FEW) -> tuple[list[Piece], Int64]:
    """Return the windows that could be read by layout, and the places of all other bodies.

    Bodies of a length that less than ``few`` have are left: one by one they are read sooner.
    """
    lengths = bodies.stored.length
    pieces: list[Piece] = []
    left = [np.zeros(0, dtype=np.int64)]
    for length in np.flatnonzero(np.bincount(lengths)).tolist():
        places = np.flatnonzero(lengths == length).astype(np.int64)
        if len(places) < few:
            left.append(places)
            continue
        tried = 0
        while len(places) and tried < MOST_LAYOUTS:
            layout = read_layout(bodies.stored[int(places[0])])
            if layout is None:
                left.append(places[:1])
                places = places[1:]
                continue
            tried += 1
            same, fields = layout.read(bodies.stored.take(places), _READ)
            found, refused = _Reader(bodies, places, fields).some(same).read()
            pieces += found
            left.append(refused)
            places = places[~same]
        left.append(places)
    return pieces, np.sort(np.concatenate(left))


class _Reader:
    """Reads bodies of one layout: ``places`` are theirs among all, ``fields`` what they say."""

    def __init__(self, bodies: Bodies, places: Int64, fields: Fields) -> None:
        self.bodies = bodies
        self.places = places
        self.fields = fields

    def read(self) -> tuple[list[Piece], Int64]:
        """Return a piece for each inventory's models that the bodies cite, and the places that are refused."""
        inventory, boot = self._octets((_F["inventory"],), 32), self._octets((_F["boot_id"],), 16)
        if inventory is None or boot is None:
            return [], self.places
        seats = self.bodies.seats(self.bodies.node[self.places], inventory, boot)
        pieces: list[Piece] = []
        left: list[Int64] = []
        for kind in sorted(set(seats[:, 0].tolist())):
            of_kind = seats[:, 0] == kind
            group = self.some(of_kind)
            if kind < 0:
                left.append(group.places)
                continue
            models = self.bodies.kinds[kind]
            fit = group.fits(len(models))
            left.append(group.places[~fit])
            if fit.any():
                pieces.append(group.some(fit).piece(models, seats[of_kind][fit]))
        return pieces, np.concatenate([np.zeros(0, np.int64), *left])

    def some(self, wanted: Bools) -> "_Reader":
        """Return the reader of some of the bodies."""
        if wanted.all():
            return self
        return _Reader(self.bodies, self.places[wanted], self.fields.some(wanted))

    def fits(self, chips: int) -> Bools:
        """Return which rows have the shape that they declare; the others are left to the one-by-one way."""
        places, place = self.places, self.fields.place
        fit = np.ones(len(places), dtype=np.bool_)
        sizes = {"chip_features": 4 * WIDTH * chips} | dict.fromkeys(_COUNTERS, 8 * chips)
        for name, size in sizes.items():
            start, end = place((_F[name],))
            if end - start != size and not (name in _COUNTERS and start == end):
                return ~fit
        length = self.bodies.end_ms[places] - self.bodies.start_ms[places]
        fit &= (length > 0) & (self.bodies.end_ms[places] <= LAST_MS)
        fit &= self._number((_F["feature_set"],), 0) == FEATURE_SET
        for name in ("energy_start_at", "energy_end_at"):
            times = self._counters(name, chips, 0).reshape(-1, chips) if chips else None
            if times is not None:
                fit &= times.max(axis=1) <= np.uint64(LAST_MS)
        if (_F["power"],) in self.fields.layout.fields:
            slot_ms = self._number(_SLOT_MS, 0)
            fit &= (slot_ms > 0) & (slot_ms <= length)
            slots = -(-length // np.maximum(slot_ms, 1))
            for name, count in (("chips", chips), ("node", 1)):
                start, end = place((_F["power"], _P[name]))
                if start < end:
                    fit &= (end - start) == 2 * count * slots
        return fit

    def piece(self, models: tuple[int, ...], seats: Int32) -> Piece:
        """Return the windows of rows that fit; ``seats`` are theirs, [n, 3]."""
        count = len(models)
        nodes = self._nodes(count, seats)
        window = np.repeat(np.arange(len(self.places), dtype=np.int64), count)
        features = self.fields.column((_F["chip_features"],), np.dtype("<f4"))
        chips = ChipWindows(
            node=np.repeat(nodes.node, count),
            window=window,
            chip=np.tile(np.arange(count, dtype=np.int32), len(self.places)),
            start_ms=np.repeat(nodes.start_ms, count),
            end_ms=np.repeat(nodes.end_ms, count),
            features=np.zeros((0, WIDTH), dtype=np.float32)
            if features is None
            else features.astype(np.float32, copy=False).reshape(-1, WIDTH),
            energy_start_mj=self._counters("energy_start_mj", count, MISSING_COUNTER),
            energy_end_mj=self._counters("energy_end_mj", count, MISSING_COUNTER),
            energy_start_at=self._counters("energy_start_at", count, 0).astype(np.int64),
            energy_end_at=self._counters("energy_end_at", count, 0).astype(np.int64),
            boot=np.repeat(nodes.boot, count),
            model=np.tile(np.array(models, dtype=np.int32), len(self.places)),
        )
        return Piece(self.places, Windows(chips, nodes))

    def _nodes(self, chips: int, seats: Int32) -> NodeWindows:
        start, end = self.bodies.start_ms[self.places], self.bodies.end_ms[self.places]
        node = self.bodies.node[self.places].astype(np.int32)
        gap = self._number((_F["largest_gap_ms"],), -1)
        return NodeWindows(
            node=node,
            start_ms=start,
            end_ms=end,
            chips=np.full(len(node), chips, dtype=np.int32),
            boot=np.ascontiguousarray(seats[:, 2]),
            roster=np.ascontiguousarray(seats[:, 1]),
            wall_energy_j=self._float((_F["node"], _N["wall_energy_joules"]), "<f8"),
            wall_covered_ms=self._number((_F["node"], _N["wall_covered_ms"]), 0),
            wall_resolution_w=self._float((_F["node"], _N["wall_resolution_watts"]), "<f4"),
            samples_expected=self._number((_F["samples_expected"],), 0),
            samples_taken=self._number((_F["samples_taken"],), 0),
            largest_gap_ms=np.where(gap < 0, end - start, gap),
            slot_ms=self._number(_SLOT_MS, 0),
            wall_slots=PowerSlots(self._slots("node")),
            chip_slots=PowerSlots(self._slots("chips"), np.full(len(node), chips, np.int32)),
        )

    def _octets(self, path: Path, length: int) -> Octets | None:
        """Return a field of bytes of each row, [n, length]; ``None`` when it is absent or of another length."""
        found = self.fields.octets.get(path)
        return None if found is None or found.shape[1] != length else found

    def _number(self, path: Path, absent: int) -> Int64:
        found = self.fields.number(path)
        return np.full(len(self.places), absent, dtype=np.int64) if found is None else found

    def _float(self, path: Path, dtype: str) -> Float64:
        found = self.fields.column(path, np.dtype(dtype))
        if found is None:
            return np.full(len(self.places), np.nan)
        return found[:, 0].astype(np.float64)

    def _counters(self, name: str, chips: int, missing: int) -> Uint64:
        found = self.fields.column((_F[name],), np.dtype("<u8"))
        if found is None or not found.size:
            return np.full(len(self.places) * chips, missing, dtype=np.uint64)
        return found.astype(np.uint64, copy=False).reshape(-1)

    def _slots(self, name: str) -> Rows[bytes]:
        """Return the bytes of a power series of each body; none where it is absent."""
        return self.fields.stored.part(*self.fields.place((_F["power"], _P[name])))


def _order(values: Int64) -> "NDArray[np.intp] | slice":
    """Return what puts values into ascending order; a slice, which copies nothing, where they are."""
    if bool((values[1:] >= values[:-1]).all()):
        return slice(None)
    return np.argsort(values, kind="stable")


def join(pieces: Sequence[Piece]) -> Windows:
    """Return the windows of all pieces, in the order of their places."""
    pieces = [piece for piece in pieces if len(piece.places)] or pieces[:1]
    if len(pieces) == 1:
        return pieces[0].windows
    places = np.concatenate([piece.places for piece in pieces])
    of_chip = np.concatenate([piece.places[piece.windows.chips.window] for piece in pieces])
    order, chip_order = _order(places), _order(of_chip)
    nodes = [piece.windows.nodes for piece in pieces]
    chips = [piece.windows.chips for piece in pieces]

    def node(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(one, name) for one in nodes])[order]

    def chip(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(one, name) for one in chips])[chip_order]

    def series(name: str) -> PowerSlots:
        parts: list[PowerSlots] = [getattr(one, name) for one in nodes]
        counts = [one.chips for one in parts if one.chips is not None]
        octets = Rows.joined([one.octets for one in parts])
        whole = PowerSlots(octets, np.concatenate(counts) if counts else None)
        return whole if isinstance(order, slice) else whole.take(order)

    arrays = {name: chip(name) for name in ChipWindows.__slots__ if name != "window"}
    window = np.searchsorted(places[order], of_chip[chip_order]).astype(np.int64)
    return Windows(
        replace(chips[0], window=window, **cast("dict[str, Any]", arrays)),
        replace(
            nodes[0],
            **cast(
                "dict[str, Any]",
                {name: node(name) for name in NodeWindows.__slots__ if name not in _SERIES},
            ),
            wall_slots=series("wall_slots"),
            chip_slots=series("chip_slots"),
        ),
    )
