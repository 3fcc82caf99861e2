"""Turns the readings of one window into a workload summary. Pure.

Rules, stated once:

- A window is [start, end). Readings in it make its features and its power series.
- Means, deviations and shares are those of the window's samples. A mean, and a share of time, gives
  each sample the time until the next sample of its channel, and activity, which is about the time
  before, the time since the one before: so that irregular sampling does not bend it. Where the other
  sample lies outside the window, it is the time to the window's edge, or that of the neighbour where
  that is more. It is at most HOLD_PERIODS sample periods; LEAST_HOLD_MS where that is more, since
  some channels are read more rarely. The deviation and the histogram count samples alike.
- Samples count as taken for no more of the window than those of each chip's activity, utilisation and
  clock stand for, where it has any: a bound that rests on them speaks of no more.
- The clock that activity is weighed with is the mean of the clock's samples of that activity's time.
- Cumulative counters (energy, bytes) are differenced between the last reading at or before the
  start and the last at or before the end. Without the former, or after a reset, there is no value.
- Wall energy is the sum of sample x dt. A sample of wall power stands from its time until the next
  sample, at most HOLD_PERIODS sample periods: so that in a longer gap, and before the first sample,
  nothing is added and the time is not covered. The last sample before the window stands into it by
  the same rule. Watts scaled by a power of two scale the joules exactly.
- Nothing is interpolated.
"""

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from attestor.channels import CHIP_CHANNELS, MOST_SLOT_WATTS, NODE, NODE_CHANNELS, Reading
from attestor.chip_features import chip_row
from protos.stillwatch.statement.v1 import summary_pb2
from statements.features import (
    FEATURE_SET,
    MISSING_COUNTER,
    MISSING_SLOT,
    pack_rows,
)

HOLD_PERIODS: Final = 2
"""How many sample periods a sample may stand for when the next one is late."""
LEAST_HOLD_MS: Final = 2_000
"""A chip's sample may stand that long in any case: live sources read some channels once a second."""
SLOT_MS: Final = 1_000
"""Length of a slot of the power series."""

_COUNTERS: Final = frozenset(
    channel.name
    for channel in CHIP_CHANNELS + NODE_CHANNELS
    if channel.name.endswith(("_bytes", "energy_mj")) and channel.name != "memory_used_bytes"
)
_MOST_SAMPLES: Final = 2**32 - 1
_CARRIED: Final = _COUNTERS | {"wall_w", "wall_resolution_w"}

Sample = tuple[int, float]
"""A time in Unix milliseconds and the value read then."""
_NEVER: Final[Sample] = (-1, 0.0)


@dataclass(frozen=True, slots=True)
class Span:
    """A window's period [start, end), Unix milliseconds."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """The window's length."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Rig:
    """What stays the same from window to window: the chips, and how they are sampled.

    ``inventory`` is the body digest of the inventory whose rows these are; ``expected_per_s`` the
    readings that the sampler is set to take in a second, of all rows together; ``sample_ms`` the
    longest sample period of the node's sources.
    """

    inventory: bytes
    chips: int
    boot_id: bytes
    expected_per_s: float
    sample_ms: int


@dataclass(frozen=True, slots=True)
class Carried:
    """The newest sample of each cumulative counter and of wall power, by row and channel.

    Those at or before a window's start belong to it; ``after`` moves on to the next window.
    """

    samples: Mapping[tuple[int, str], Sample] = field(default_factory=dict)

    def after(self, readings: Iterable[Reading], until_ms: int) -> "Carried":
        """Return what is carried once all ``readings`` up to and including ``until_ms`` are known."""
        newest = dict(self.samples)
        for reading in readings:
            if reading.time_ms <= until_ms:
                for name, value in reading.values.items():
                    key = (reading.chip, name)
                    if name in _CARRIED and reading.time_ms >= newest.get(key, _NEVER)[0]:
                        newest[key] = (reading.time_ms, value)
        return Carried(newest)

    def moved(self, rows: Mapping[int, int]) -> "Carried":
        """Return what is carried once rows have moved as ``rows`` says; the others are gone."""
        return Carried(
            {
                (rows[row], name): sample
                for (row, name), sample in self.samples.items()
                if row in rows
            }
        )


def align(instant_ms: int, length_ms: int) -> int:
    """Return the newest window boundary at or before an instant: multiples of the length since 1970."""
    return instant_ms - instant_ms % length_ms


def summarise(
    span: Span,
    rig: Rig,
    readings: Sequence[Reading],
    carried: Carried,
    failed_sources: Iterable[str] = (),
) -> tuple[summary_pb2.WorkloadSummary, Carried]:
    """Return a window's summary, and what the next window starts from.

    ``readings`` are in order of time, none older than the window's start; a reading at the very end
    serves the counters only. ``failed_sources`` are names.
    """
    inside = [r for r in readings if span.start_ms <= r.time_ms < span.end_ms]
    at_start = carried.after(readings, span.start_ms)
    at_end = carried.after(readings, span.end_ms)
    rows: dict[int, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for reading in inside:
        row = rows[reading.chip]
        for name, value in reading.values.items():
            row[name].append((reading.time_ms, value))
    hold_ms = HOLD_PERIODS * rig.sample_ms
    chips = [
        chip_row(
            rows[chip],
            (span.start_ms, span.end_ms),
            max(hold_ms, LEAST_HOLD_MS),
            _differences(chip, at_start, at_end),
        )
        for chip in range(rig.chips)
    ]
    expected = min(int(rig.expected_per_s * span.length_ms / 1000), _MOST_SAMPLES)
    spoken = min((share for _, share in chips), default=1.0)
    summary = summary_pb2.WorkloadSummary(
        inventory=rig.inventory,
        feature_set=FEATURE_SET,
        samples_expected=expected,
        samples_taken=min(len(inside), round(expected * spoken)),
        largest_gap_ms=_largest_gap(span, inside),
        boot_id=rig.boot_id,
        chip_features=pack_rows([row for row, _ in chips]),
        failed_sources=sorted(set(failed_sources)),
    )
    _put_energy(summary, rig.chips, at_start, at_end)
    _put_power(summary, span, rig.chips, rows)
    _put_node(summary, span, rows[NODE], (at_start, at_end), hold_ms)
    return summary, at_end


def _largest_gap(span: Span, inside: Sequence[Reading]) -> int:
    newest, largest = span.start_ms, 0
    for reading in inside:
        largest = max(largest, reading.time_ms - newest)
        newest = max(newest, reading.time_ms)
    return max(largest, span.end_ms - newest)


def _difference(row: int, name: str, start: Carried, end: Carried) -> float:
    before, after = start.samples.get((row, name)), end.samples.get((row, name))
    if before is None or after is None or after[1] < before[1]:
        return math.nan
    return after[1] - before[1]


def _differences(chip: int, start: Carried, end: Carried) -> Mapping[str, float]:
    return {
        channel.name: _difference(chip, channel.name, start, end)
        for channel in CHIP_CHANNELS
        if channel.name in _COUNTERS
    }


def _put_energy(
    summary: summary_pb2.WorkloadSummary, chips: int, start: Carried, end: Carried
) -> None:
    keys = [(chip, "energy_mj") for chip in range(chips)]
    if not any(key in end.samples for key in keys):
        return
    for known, counters, times in (
        (start, summary.energy_start_mj, summary.energy_start_at),
        (end, summary.energy_end_mj, summary.energy_end_at),
    ):
        for key in keys:
            time_ms, value = known.samples.get(key, (0, MISSING_COUNTER))
            counters.append(int(value))
            times.append(time_ms)


def _slots(span: Span, samples: Sequence[Sample]) -> bytes:
    """Return the mean of the samples of each slot as little-endian uint16 W.

    A mean that a slot cannot say is missing: the most that it can say would be too little.
    """
    count = -(-span.length_ms // SLOT_MS)
    sums, counts = [0.0] * count, [0] * count
    for time_ms, watts in samples:
        slot = (time_ms - span.start_ms) // SLOT_MS
        sums[slot] += watts
        counts[slot] += 1
    means = (
        round(total / number) if number else MISSING_SLOT
        for total, number in zip(sums, counts, strict=True)
    )
    return b"".join(
        (mean if mean <= MOST_SLOT_WATTS else MISSING_SLOT).to_bytes(2, "little") for mean in means
    )


def _put_power(
    summary: summary_pb2.WorkloadSummary,
    span: Span,
    chips: int,
    rows: Mapping[int, Mapping[str, Sequence[Sample]]],
) -> None:
    of_chips = [rows[chip].get("power_w", ()) for chip in range(chips)]
    of_node = rows[NODE].get("wall_w", ())
    if any(of_chips):
        summary.power.chips = b"".join(_slots(span, samples) for samples in of_chips)
    if of_node:
        summary.power.node = _slots(span, of_node)
    if any(of_chips) or of_node:
        summary.power.slot_ms = SLOT_MS


def integrate(samples: Sequence[Sample], span: Span, hold_ms: int) -> tuple[float, int]:
    """Return the joules of ``samples`` within the span, and the milliseconds that they cover.

    ``samples`` are W in order of time and may begin before the span; each stands until the next, at
    most ``hold_ms``.
    """
    watt_ms, covered = 0.0, 0
    times = array("q", (time_ms for time_ms, _ in samples))
    for place, (time_ms, watts) in enumerate(samples):
        until = time_ms + hold_ms
        if place + 1 < len(times):
            until = min(until, times[place + 1])
        share = min(until, span.end_ms) - max(time_ms, span.start_ms)
        if share > 0:
            watt_ms += watts * share
            covered += share
    return watt_ms / 1000, covered


def _put_node(
    summary: summary_pb2.WorkloadSummary,
    span: Span,
    row: Mapping[str, Sequence[Sample]],
    carried: tuple[Carried, Carried],
    hold_ms: int,
) -> None:
    start, end = carried
    before = start.samples.get((NODE, "wall_w"))
    first = row["wall_w"][0][0] if row.get("wall_w") else None
    wall = [before] if before is not None and before[0] != first else []
    joules, covered = integrate([*wall, *row.get("wall_w", ())], span, hold_ms)
    if covered:
        summary.node.wall_energy_joules = joules
        summary.node.wall_covered_ms = covered
        if (resolution := end.samples.get((NODE, "wall_resolution_w"))) is not None:
            summary.node.wall_resolution_watts = resolution[1]
    if not math.isnan(energy := _difference(NODE, "cpu_energy_mj", start, end)):
        summary.node.cpu_energy_joules = energy / 1000
    for channel, name in (
        ("ib_tx_bytes", "infiniband_sent_bytes"),
        ("ib_rx_bytes", "infiniband_received_bytes"),
        ("eth_tx_bytes", "ethernet_sent_bytes"),
        ("eth_rx_bytes", "ethernet_received_bytes"),
    ):
        if not math.isnan(moved := _difference(NODE, channel, start, end)):
            setattr(summary.node, name, int(moved))
