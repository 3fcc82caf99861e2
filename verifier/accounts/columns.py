"""Evidence in columns: one row a chip and window, one row a node and window.

Summaries are decoded once, into arrays; the accounts then work on whole columns. Nothing is judged
here and nothing is filled in: what a node did not say stays missing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from protos.stillwatch.statement.v1 import summary_pb2
from statements.features import FEATURE_SET, MISSING_COUNTER, WIDTH
from verifier.accounts.errors import ColumnsError
from verifier.instants import LAST_MS
from verifier.rows.rows import Rows

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Uint64 = NDArray[np.uint64]
Uint16 = NDArray[np.uint16]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

NO_COUNTER: Final = np.uint64(MISSING_COUNTER)
BOOT_ID_LENGTH: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class ChipWindows:
    """One row a chip and window, n rows, in the order in which windows were added.

    ``window`` is the row in :class:`NodeWindows`, ``chip`` the row in the node's inventory, ``boot``
    an index that is the same for the same boot of the same node, ``model`` the row in the chip
    table. ``features`` is [n, WIDTH], NaN where missing. Energy counters are mJ, 2^64-1 where
    missing, and were read at the ``_at`` times, 0 where missing. Times are Unix milliseconds.
    """

    node: Int32
    window: Int64
    chip: Int32
    start_ms: Int64
    end_ms: Int64
    features: Float32
    energy_start_mj: Uint64
    energy_end_mj: Uint64
    energy_start_at: Int64
    energy_end_at: Int64
    boot: Int32
    model: Int32

    def __len__(self) -> int:
        return len(self.node)

    def take(self, rows: "Int64 | Bools", window: Int64) -> "ChipWindows":
        """Return some of the rows; ``window`` is the row of each one's window among those that go with them."""
        return ChipWindows(
            node=self.node[rows],
            window=window,
            chip=self.chip[rows],
            start_ms=self.start_ms[rows],
            end_ms=self.end_ms[rows],
            features=self.features[rows],
            energy_start_mj=self.energy_start_mj[rows],
            energy_end_mj=self.energy_end_mj[rows],
            energy_start_at=self.energy_start_at[rows],
            energy_end_at=self.energy_end_at[rows],
            boot=self.boot[rows],
            model=self.model[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class PowerSlots(Sequence[Uint16]):
    """Power series, one a window, little-endian uint16 that stay in the bodies which say them.

    Each is [slots], or [chips, slots] where ``chips`` gives their number, [n].
    """

    octets: Rows[bytes] = field(repr=False)
    chips: Int32 | None = None

    def __len__(self) -> int:
        return len(self.octets)

    @overload
    def __getitem__(self, at: int) -> Uint16: ...
    @overload
    def __getitem__(self, at: slice) -> "PowerSlots": ...
    def __getitem__(self, at: "int | slice") -> "Uint16 | PowerSlots":
        if isinstance(at, slice):
            return self.take(np.arange(len(self))[at])
        slots: Uint16 = np.frombuffer(self.octets[at], dtype="<u2").astype(np.uint16, copy=False)
        if self.chips is None:
            return slots
        return slots.reshape(int(self.chips[at]), -1) if slots.size else slots.reshape(0, 0)

    def take(self, rows: NDArray[np.integer]) -> "PowerSlots":
        """Return the series of some windows."""
        chips = None if self.chips is None else self.chips[rows]
        return PowerSlots(self.octets.take(rows), chips)


@dataclass(frozen=True, slots=True, eq=False)
class NodeWindows:
    """One row a node and window, in the order in which they were added.

    ``roster`` is the same where the same chips stand in the same rows. ``wall_energy_j`` is NaN
    where missing, ``wall_resolution_w`` likewise; ``wall_covered_ms`` is
    the part of the window that it covers. ``wall_slots`` are W of ``slot_ms`` each from the
    window's start, 65535 where missing, empty where not read; ``chip_slots`` likewise, [chips,
    slots]. ``slot_ms`` is 0 where there is no series.
    """

    node: Int32
    start_ms: Int64
    end_ms: Int64
    chips: Int32
    boot: Int32
    roster: Int32
    wall_energy_j: Float64
    wall_covered_ms: Int64
    wall_resolution_w: Float64
    samples_expected: Int64
    samples_taken: Int64
    largest_gap_ms: Int64
    slot_ms: Int64
    wall_slots: PowerSlots
    chip_slots: PowerSlots

    def __len__(self) -> int:
        return len(self.node)

    def take(self, rows: Int64) -> "NodeWindows":
        """Return some of the windows."""
        return NodeWindows(
            node=self.node[rows],
            start_ms=self.start_ms[rows],
            end_ms=self.end_ms[rows],
            chips=self.chips[rows],
            boot=self.boot[rows],
            roster=self.roster[rows],
            wall_energy_j=self.wall_energy_j[rows],
            wall_covered_ms=self.wall_covered_ms[rows],
            wall_resolution_w=self.wall_resolution_w[rows],
            samples_expected=self.samples_expected[rows],
            samples_taken=self.samples_taken[rows],
            largest_gap_ms=self.largest_gap_ms[rows],
            slot_ms=self.slot_ms[rows],
            wall_slots=self.wall_slots.take(rows),
            chip_slots=self.chip_slots.take(rows),
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The chips of one window."""

    models: Int32
    features: Float32
    energy_start_mj: Uint64
    energy_end_mj: Uint64
    energy_start_at: Int64
    energy_end_at: Int64


@dataclass(frozen=True, slots=True)
class _Scalars:
    """What a window has one of, in the order of :class:`NodeWindows`."""

    node: int
    start_ms: int
    end_ms: int
    chips: int
    boot: int
    roster: int
    wall_energy_j: float
    wall_covered_ms: int
    wall_resolution_w: float
    samples_expected: int
    samples_taken: int
    largest_gap_ms: int
    slot_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The evidence of some nodes: chip windows stand in the order of their node windows."""

    chips: ChipWindows
    nodes: NodeWindows

    def first_chip_rows(self) -> Int64:
        """Return, for each node window, the row of its first chip; and after them all, the number of rows."""
        return np.concatenate(
            [np.zeros(1, dtype=np.int64), np.cumsum(self.nodes.chips, dtype=np.int64)]
        )

    def take(self, rows: Int64, first: Int64) -> "Windows":
        """Return some of the node windows, with their chips; ``first`` is :meth:`first_chip_rows`."""
        count = self.nodes.chips[rows]
        window = np.repeat(np.arange(len(rows), dtype=np.int64), count)
        return Windows(self.chips.take(chip_rows(first, rows), window), self.nodes.take(rows))


def chip_rows(first: Int64, rows: Int64) -> Int64:
    """Return the chip rows of some node windows, one window after the other."""
    return runs(first[rows], first[rows + 1] - first[rows])


def runs(start: Int64, count: Int64) -> Int64:
    """Return so many numbers from each start on, one run after the other."""
    before = np.cumsum(count) - count
    return np.repeat(start - before, count) + np.arange(int(count.sum()), dtype=np.int64)


def _counters(values: Sequence[int], chips: int, missing: int, what: str) -> Uint64:
    if not values:
        return np.full(chips, missing, dtype=np.uint64)
    if len(values) != chips:
        raise ColumnsError("ROW_COUNT", f"{what} has {len(values)} values for {chips} chips")
    return np.array(values, dtype=np.uint64)


def _times(values: Sequence[int], chips: int, what: str) -> Int64:
    times = _counters(values, chips, 0, what)
    if times.size and int(times.max()) > LAST_MS:
        raise ColumnsError("BAD_TIME", f"{what} lies beyond the year 9999")
    return times.astype(np.int64)


def _slots(data: bytes, rows: int, slots: int, what: str) -> bytes:
    if data and len(data) != 2 * rows * slots:
        raise ColumnsError(
            "SLOT_COUNT",
            f"{what} has {len(data)} bytes, {rows} x {slots} slots have {2 * rows * slots}",
        )
    return data


class ColumnsBuilder:
    """Gathers summaries, and makes :class:`Windows` of them.

    ``add`` either takes a summary whole or raises and takes nothing of it.
    """

    def __init__(self) -> None:
        self._boots: dict[tuple[int, bytes], int] = {}
        self._rows: list[_Rows] = []
        self._scalars: list[_Scalars] = []
        self._wall: list[bytes] = []
        self._series: list[bytes] = []

    def add(
        self,
        node: int,
        start_ms: int,
        end_ms: int,
        summary: summary_pb2.WorkloadSummary,
        models: Sequence[int],
        *,
        roster: int = 0,
    ) -> None:
        """Take one window of the node with index ``node``.

        ``models`` are the chip table's rows of its chips in the order of its inventory; ``roster``
        numbers which chips those are.

        Raises :class:`ColumnsError` when the summary does not have the shape that it declares; the
        window then counts as missing.
        """
        chips = len(models)
        if not 0 <= start_ms < end_ms <= LAST_MS:
            raise ColumnsError("BAD_PERIOD", f"[{start_ms}, {end_ms}) is not a period")
        if summary.feature_set != FEATURE_SET:
            raise ColumnsError(
                "FEATURE_SET", f"feature set {summary.feature_set} is not known here"
            )
        if len(summary.boot_id) != BOOT_ID_LENGTH:
            # Without it a counter's difference across a restart would price a gap.
            raise ColumnsError(
                "BOOT_ID", f"the boot has {len(summary.boot_id)} bytes of id, not 16"
            )
        if len(summary.chip_features) != 4 * WIDTH * chips:
            raise ColumnsError(
                "FEATURE_WIDTH",
                f"{len(summary.chip_features)} bytes of features, {chips} chips have {4 * WIDTH * chips}",
            )
        rows = _Rows(
            np.array(models, dtype=np.int32),
            np.frombuffer(summary.chip_features, dtype="<f4").reshape(chips, WIDTH),
            _counters(summary.energy_start_mj, chips, MISSING_COUNTER, "energy_start_mj"),
            _counters(summary.energy_end_mj, chips, MISSING_COUNTER, "energy_end_mj"),
            _times(summary.energy_start_at, chips, "energy_start_at"),
            _times(summary.energy_end_at, chips, "energy_end_at"),
        )
        slot_ms = summary.power.slot_ms if summary.HasField("power") else 0
        if summary.HasField("power") and not 0 < slot_ms <= end_ms - start_ms:
            raise ColumnsError(
                "SLOT_LENGTH", f"slots of {slot_ms} ms in a window of {end_ms - start_ms}"
            )
        slots = -(-(end_ms - start_ms) // slot_ms) if slot_ms else 0
        wall = _slots(summary.power.node, 1, slots, "power.node")
        series = _slots(summary.power.chips, chips, slots, "power.chips")
        counters = summary.node
        self._scalars.append(
            _Scalars(
                node=node,
                start_ms=start_ms,
                end_ms=end_ms,
                chips=chips,
                boot=self._boots.setdefault((node, summary.boot_id), len(self._boots)),
                roster=roster,
                wall_energy_j=counters.wall_energy_joules
                if counters.HasField("wall_energy_joules")
                else math.nan,
                wall_covered_ms=counters.wall_covered_ms,
                wall_resolution_w=counters.wall_resolution_watts
                if counters.HasField("wall_resolution_watts")
                else math.nan,
                samples_expected=summary.samples_expected,
                samples_taken=summary.samples_taken,
                largest_gap_ms=summary.largest_gap_ms
                if summary.HasField("largest_gap_ms")
                else end_ms - start_ms,
                slot_ms=slot_ms,
            )
        )
        self._rows.append(rows)
        self._wall.append(wall)
        self._series.append(series)

    def build(self) -> Windows:
        """Return the columns of all that was added."""
        scalars = self._scalars
        chips = np.array([row.chips for row in scalars], dtype=np.int32)
        nodes = NodeWindows(
            node=np.array([row.node for row in scalars], dtype=np.int32),
            start_ms=np.array([row.start_ms for row in scalars], dtype=np.int64),
            end_ms=np.array([row.end_ms for row in scalars], dtype=np.int64),
            chips=chips,
            boot=np.array([row.boot for row in scalars], dtype=np.int32),
            roster=np.array([row.roster for row in scalars], dtype=np.int32),
            wall_energy_j=np.array([row.wall_energy_j for row in scalars], dtype=np.float64),
            wall_covered_ms=np.array([row.wall_covered_ms for row in scalars], dtype=np.int64),
            wall_resolution_w=np.array(
                [row.wall_resolution_w for row in scalars], dtype=np.float64
            ),
            samples_expected=np.array([row.samples_expected for row in scalars], dtype=np.int64),
            samples_taken=np.array([row.samples_taken for row in scalars], dtype=np.int64),
            largest_gap_ms=np.array([row.largest_gap_ms for row in scalars], dtype=np.int64),
            slot_ms=np.array([row.slot_ms for row in scalars], dtype=np.int64),
            wall_slots=PowerSlots(Rows.of(self._wall)),
            chip_slots=PowerSlots(Rows.of(self._series), chips),
        )
        return Windows(_chip_windows(nodes, self._rows), nodes)


def _chip_windows(nodes: NodeWindows, rows: Sequence[_Rows]) -> ChipWindows:
    window = np.repeat(np.arange(len(nodes), dtype=np.int64), nodes.chips)
    counts = [np.arange(len(row.models), dtype=np.int32) for row in rows]
    none64, none32 = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int32)
    times = np.zeros(0, dtype=np.int64)
    return ChipWindows(
        node=nodes.node[window],
        window=window,
        chip=np.concatenate([none32, *counts]),
        start_ms=nodes.start_ms[window],
        end_ms=nodes.end_ms[window],
        features=np.concatenate(
            [np.zeros((0, WIDTH), dtype=np.float32), *(row.features for row in rows)]
        ),
        energy_start_mj=np.concatenate([none64, *(row.energy_start_mj for row in rows)]),
        energy_end_mj=np.concatenate([none64, *(row.energy_end_mj for row in rows)]),
        energy_start_at=np.concatenate([times, *(row.energy_start_at for row in rows)]),
        energy_end_at=np.concatenate([times, *(row.energy_end_at for row in rows)]),
        boot=nodes.boot[window],
        model=np.concatenate([none32, *(row.models for row in rows)]),
    )
