"""Bounds on the dense operations that one chip executed in one window.

Counted are executed operations, recomputation and padding included, 16-bit-equivalent or native,
whichever is larger. Sparsity is not counted; where it is used, operations may be called twice as
many. Each term bounds the operations *within the period*; of a window that lies across its edge,
time inside is known, and every counter may have counted all of its work inside (for the upper
bound) or as much as fits outside (for the lower).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from statements.features import COLUMN
from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import NO_COUNTER, Bools, ChipWindows, Float64
from verifier.accounts.wall import overlap_ms
from verifier.agreement.model import Trust

PROVEN_HMMA: Final = 0.75
"""Share of K16 that a cycle of the 16-bit tensor pipe proves where TF32 is excluded."""
PROVEN_HMMA_OR_TF32: Final = 0.375
"""The same where it may have been TF32, of half the rate."""
PROVEN_TENSOR: Final = 0.2
"""The same of a cycle of any tensor pipe."""
FP16_OVER_K16: Final = 1 / 4
"""FP16 outside the tensor cores: 78 over 312 TFLOP/s (A100 whitepaper); less on later chips."""
FP32_OVER_K16: Final = 1 / 14
"""FP32 pipe: 19.5 over 312 TFLOP/s (A100), 67 over 989 (H100), 80 over 2250 (B200), rounded up."""
FP64_OVER_K16: Final = 1 / 28
"""FP64 pipe: 9.7 over 312 TFLOP/s (A100), 34 over 989 (H100), rounded up."""
TYPICAL_ENERGY_OVER_FLOOR: Final = 6.0
"""For estimates alone: H100 training was seen at 1.1 to 3.3 pJ a FLOP, 6 x 0.20 is 1.2."""
TYPICAL_UTILISATION: Final = 0.318
"""For estimates alone: median of 83 published training runs, useful FLOP over 16-bit peak."""
IDLE_ACTIVITY: Final = 0.01
"""An idle chip's kernels and SMs are active for at most this share of the window."""
IDLE_TENSOR: Final = 0.001
"""An idle chip's tensor pipes likewise."""
IDLE_POWER: Final = 2.0
"""An idle chip draws at most this many times the idle power of its model."""
IDLE_SHOWN: Final = 0.95
"""An idle chip shows it for this share of the window, by samples or by its energy counter."""
ACTIVITY_RESOLUTION: Final = 0.001
"""Activity of an SM or pipe that a profiling counter may have missed; a reading of 0 excludes no less."""
UTILISATION_RESOLUTION: Final = 0.01
"""The same of the share of time in which kernels ran: NVML tells it in whole per cent."""
CLOCK_SLACK: Final = 1.01
"""A logged clock may exceed the table's highest by this factor before it is impossible."""
ACTIVITY_SLACK: Final = 1.001
"""An activity may exceed 1 by this factor, as rounding, before it is impossible."""


class Term(IntEnum):
    """What binds an upper bound."""

    PEAK_TIME = 0
    """Fastest precision at the highest clock, for the whole time."""
    PIPES_CLOCK = 1
    """The activity of the pipes at the logged clock."""
    ENERGY_FLOOR = 2
    """The energy drawn, at the least energy of an operation."""


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """The bounds of each chip window within a period, [rows] each.

    ``lower``, ``estimate`` and ``upper`` are operations, in that order of size; ``terms`` is [rows,
    3] by :class:`Term`, infinite where the evidence is missing or not trusted; ``binds`` is the
    least of them. ``seconds`` is the time within the period; ``idle`` whether the counters show
    that nothing ran, ``contradicted`` whether they prove more than time or energy allows.
    """

    seconds: Float64
    lower: Float64
    estimate: Float64
    upper: Float64
    terms: Float64
    binds: np.ndarray[tuple[int, ...], np.dtype[np.int8]]
    idle: Bools
    contradicted: Bools


@dataclass(frozen=True, slots=True, eq=False)
class _Figures:
    """The chip table's figures, a row a chip window."""

    peak: Float64
    k16: Float64
    proven_k16: Float64
    f_max: Float64
    multiple: Float64
    e_min: Float64
    static_w: Float64
    idle_w: Float64
    peak16: Float64


def _figures(windows: ChipWindows, table: ChipTable) -> _Figures:
    def of(name: str) -> Float64:
        return np.array([getattr(chip, name) for chip in table.chips], np.float64)[windows.model]

    return _Figures(
        peak=of("peak_flop_per_s"),
        k16=of("k16_flop_per_clock"),
        proven_k16=of("proven_k16_flop_per_clock"),
        f_max=of("f_max_hz"),
        multiple=of("fastest_dense_multiple"),
        e_min=of("e_min_j_per_flop"),
        static_w=of("static_power_w"),
        idle_w=of("idle_w"),
        peak16=of("peak16_flop_per_s"),
    )


def feature(windows: ChipWindows, name: str) -> Float64:
    """Return one feature of each row, NaN where missing."""
    return windows.features[:, COLUMN[name]].astype(np.float64)


def _activity(windows: ChipWindows, name: str) -> Float64:
    """Return an activity in 0 to 1; what is impossible counts as missing."""
    value = feature(windows, name)
    possible = (value >= 0) & (value <= ACTIVITY_SLACK)
    return np.where(possible, np.minimum(value, 1.0), np.nan)


def _at_most(windows: ChipWindows, name: str, resolution: float = ACTIVITY_RESOLUTION) -> Float64:
    """Return the most that an activity can have been, 0 to 1: its reading and the counter's resolution."""
    return np.minimum(_or(_activity(windows, name), 1.0) + resolution, 1.0)


def _clock(windows: ChipWindows, name: str, f_max: Float64) -> Float64:
    """Return a clock in Hz; what is impossible counts as missing."""
    value = feature(windows, name) * 1e6
    possible = (value > 0) & (value <= CLOCK_SLACK * f_max)
    clock: Float64 = np.where(possible, np.minimum(value, f_max), np.nan)
    return clock


def _or(value: Float64, otherwise: Float64 | float) -> Float64:
    return np.where(np.isnan(value), otherwise, value)


def energy_j(windows: ChipWindows) -> tuple[Float64, Float64]:
    """Return each row's energy by the chip's own counter, J, and the seconds that it leaves open.

    NaN where a counter is missing, was read at an impossible time, went back, or stood still: no chip
    that answers draws nothing.
    """
    known = (windows.energy_start_mj != NO_COUNTER) & (windows.energy_end_mj != NO_COUNTER)
    known &= (windows.energy_end_mj >= windows.energy_start_mj) & ~stuck_rows(windows)
    known &= (windows.energy_start_at > 0) & (windows.energy_start_at <= windows.start_ms)
    known &= (windows.energy_end_at >= windows.energy_start_at) & (
        windows.energy_end_at <= windows.end_ms
    )
    used = np.where(known, windows.energy_end_mj - windows.energy_start_mj, 0).astype(np.float64)
    tail = (windows.end_ms - np.maximum(windows.energy_end_at, windows.start_ms)) / 1000
    return np.where(known, used / 1000, np.nan), np.where(known, tail, np.nan)


def stuck_rows(windows: ChipWindows) -> Bools:
    """Return which rows have an energy counter that was read twice and did not move."""
    stuck: Bools = (windows.energy_start_mj == windows.energy_end_mj) & (
        windows.energy_start_mj != NO_COUNTER
    )
    return stuck & (windows.energy_end_at > windows.energy_start_at)


def counted_share(windows: ChipWindows) -> Float64:
    """Return the share of each window that the chip's own energy counter covers, 0 to 1."""
    _, open_s = energy_j(windows)
    length = (windows.end_ms - windows.start_ms) / 1000
    return np.clip(_or(1.0 - open_s / length, 0.0), 0.0, 1.0)


def _tensor_cycles(windows: ChipWindows, ceiling: Float64) -> Float64:
    """Return the most that the tensor pipes were active together, 0 to 1."""
    each = [
        np.minimum(_at_most(windows, name), ceiling)
        for name in ("hmma_active_mean", "imma_active_mean", "dmma_active_mean")
    ]
    any_pipe = np.minimum(_at_most(windows, "tensor_active_mean"), ceiling)
    cycles: Float64 = np.minimum(any_pipe, each[0] + each[1] + each[2])
    return cycles


def _pipes_flop_per_s(windows: ChipWindows, figures: _Figures) -> Float64:
    """Return the sum over pipes of activity x fastest FLOP a clock x logged clock.

    A pipe without a reading counts as always active, a clock without one as the highest. A pipe is
    active only while an SM has a warp, and an SM only while a kernel runs, so that no pipe was active
    for longer than either. A reading excludes nothing below its resolution. The
    mean clock alone leaves open that work fell together with high clocks: then the product is at
    most the lesser of activity at the highest clock, and full activity at the mean clock.
    """
    ceiling = np.minimum(
        _at_most(windows, "sm_active_mean"),
        _at_most(windows, "utilisation_mean", UTILISATION_RESOLUTION),
    )
    mean = _or(_clock(windows, "sm_clock_mean", figures.f_max), figures.f_max)
    weighted = _clock(windows, "sm_clock_tensor_mean", figures.f_max)

    def cycles(active: Float64) -> Float64:
        return np.minimum(active * figures.f_max, mean)

    tensor = _tensor_cycles(windows, ceiling)
    measured = ~np.isnan(weighted) & ~np.isnan(_activity(windows, "tensor_active_mean"))
    tensor_cycles = np.where(
        measured, np.minimum(tensor * weighted, cycles(tensor)), cycles(tensor)
    )
    total = figures.multiple * tensor_cycles
    for name, share in (
        ("fp16_active_mean", FP16_OVER_K16),
        ("fp32_active_mean", FP32_OVER_K16),
        ("fp64_active_mean", FP64_OVER_K16),
    ):
        total = total + share * cycles(np.minimum(_at_most(windows, name), ceiling))
    return total * figures.k16


def _proven_flop_per_s(
    windows: ChipWindows, figures: _Figures, tf32_excluded: Bools | bool
) -> Float64:
    """Return the FLOP a second that tensor activity proves; zero without a logged clock.

    By the mean clock alone, work is taken to have fallen together with low clocks.
    """
    weighted = _clock(windows, "sm_clock_tensor_mean", figures.f_max)
    mean = _clock(windows, "sm_clock_mean", figures.f_max)
    hmma = _or(_activity(windows, "hmma_active_mean"), 0.0)
    tensor = _or(_activity(windows, "tensor_active_mean"), 0.0)
    # FP64 on tensor cores runs at a sixteenth: what is known to be that proves nothing here.
    tensor = np.maximum(tensor - _or(_activity(windows, "dmma_active_mean"), 0.0), 0.0)

    def cycles(active: Float64) -> Float64:
        by_mean = np.maximum(mean - (1.0 - active) * figures.f_max, 0.0)
        return _or(np.where(np.isnan(weighted), by_mean, active * weighted), 0.0)

    of_hmma = np.where(tf32_excluded, PROVEN_HMMA, PROVEN_HMMA_OR_TF32) * cycles(hmma)
    return np.maximum(of_hmma, PROVEN_TENSOR * cycles(tensor)) * figures.proven_k16


def idle_rows(windows: ChipWindows, table: ChipTable, sampled: Float64 | float = 1.0) -> Bools:
    """Return which rows their own counters show to be idle.

    All of: kernels ran, and SMs were active, for at most one part in a hundred, one of them at
    least being known; tensor pipes, where known, for at most one in a thousand; and power, which
    must be known by the energy counter or by samples, is at most twice the model's idle power.
    Either the samples that were taken, of which ``sampled`` is the share, or the energy counter must
    speak of 95 % of the window.
    """
    figures = _figures(windows, table)
    ran = _activity(windows, "utilisation_mean")
    active = _activity(windows, "sm_active_mean")
    tensor = _activity(windows, "tensor_active_mean")
    energy, _ = energy_j(windows)
    span = (windows.energy_end_at - windows.energy_start_at) / 1000
    counted = np.divide(energy, span, out=np.full(len(windows), np.nan), where=span > 0)
    told = feature(windows, "power_mean")
    power = np.fmax(counted, np.where(told > 0, told, np.nan))
    quiet = (_or(ran, 0.0) <= IDLE_ACTIVITY) & (_or(active, 0.0) <= IDLE_ACTIVITY)
    known = ~(np.isnan(ran) & np.isnan(active))
    cold = power <= IDLE_POWER * figures.idle_w
    cold &= np.maximum(sampled, counted_share(windows)) >= IDLE_SHOWN
    idle: Bools = known & quiet & (_or(tensor, 0.0) <= IDLE_TENSOR) & cold
    return idle


def _estimate(windows: ChipWindows, figures: _Figures, seconds: Float64, share: Float64) -> Float64:
    """Return the likeliest operations: by tensor activity and clock, else by energy, else by time."""
    clock = _or(
        _clock(windows, "sm_clock_tensor_mean", figures.f_max),
        _or(_clock(windows, "sm_clock_mean", figures.f_max), figures.f_max),
    )
    tensor = _or(_activity(windows, "hmma_active_mean"), _activity(windows, "tensor_active_mean"))
    by_pipes = tensor * figures.k16 * clock * seconds
    energy, _ = energy_j(windows)
    by_energy = energy * share / (TYPICAL_ENERGY_OVER_FLOOR * figures.e_min)
    by_time = TYPICAL_UTILISATION * figures.peak16 * seconds
    return _or(by_pipes, _or(by_energy, by_time))


def intervals(
    windows: ChipWindows,
    table: ChipTable,
    period: tuple[int, int],
    trust: Trust,
    *,
    tf32_excluded: Bools | bool = False,
    sampled: Float64 | float = 1.0,
) -> Intervals:
    """Return the bounds of each row within ``period`` (Unix ms, end excluded).

    Under ``Trust.METERS`` the chip's own counters count for nothing: the interval is [0, peak x
    time]. ``tf32_excluded`` says, by row or for all, that evidence other than these counters
    excludes TF32. ``sampled`` is the share of each row's samples that were taken, 0 to 1: activity
    and clock speak of no more of the window than that.
    """
    figures = _figures(windows, table)
    inside = overlap_ms(windows.start_ms, windows.end_ms, period)
    seconds = inside / 1000
    length = (windows.end_ms - windows.start_ms) / 1000
    terms = np.full((len(windows), len(Term)), np.inf)
    terms[:, Term.PEAK_TIME] = figures.peak * seconds
    lower = np.zeros(len(windows))
    idle = np.zeros(len(windows), dtype=np.bool_)
    estimate = TYPICAL_UTILISATION * figures.peak16 * seconds
    if trust is Trust.COUNTERS:
        rate = sampled * _pipes_flop_per_s(windows, figures) + (1 - sampled) * figures.peak
        terms[:, Term.PIPES_CLOCK] = rate * length
        energy, open_s = energy_j(windows)
        static = figures.static_w * np.maximum(length - open_s, 0.0)
        by_energy = np.maximum(energy - static, 0.0) / figures.e_min
        by_energy += figures.peak * np.minimum(open_s, seconds)
        terms[:, Term.ENERGY_FLOOR] = _or(by_energy, np.inf)
        proven = _proven_flop_per_s(windows, figures, tf32_excluded) * length * sampled
        # What fits outside the period may have run there, at the rate of the proof's own unit.
        lower = np.maximum(proven - figures.k16 * figures.f_max * (length - seconds), 0.0)
        idle = idle_rows(windows, table, sampled)
        estimate = _estimate(windows, figures, seconds, seconds / length)
    terms[inside == 0] = 0.0
    binds = np.argmin(terms, axis=1).astype(np.int8)
    upper = terms.min(axis=1, initial=np.inf)
    lower = np.where(inside > 0, lower, 0.0)
    contradicted: Bools = lower > upper
    lower = np.minimum(lower, upper)
    estimate = np.clip(estimate, lower, upper)
    return Intervals(seconds, lower, estimate, upper, terms, binds, idle, contradicted)
