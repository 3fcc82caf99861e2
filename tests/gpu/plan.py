"""What a campaign records, for how long, and what that takes: pure, so that it can be printed beforehand."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tests.gpu.workloads.registry import find_workload

START_S: Final = 7.0
"""What a run takes besides its steps: interpreters, PyTorch, model. A judgement, until results.json says."""
CALLS_S: Final = 15.0
"""The table of calls, of an idle chip."""
BUSY_CALLS_S: Final = 22.0
"""The same beside a workload, which has to start."""
OVERHEAD_S: Final = 45.0
"""Training with and without a recorder beside it."""
FIXED_S: Final = CALLS_S + BUSY_CALLS_S + OVERHEAD_S
LEAST_S: Final = 6.0
"""A run that is shorter says too little: it is left out instead."""
RECORDING_BYTES_PER_S: Final = 2_000
"""A chip's recording: ten readings a second of 25 channels of eight bytes, as if nothing made them smaller."""
RUN_BYTES: Final = 40_000
"""A run's headers and metadata."""
FLOP_LOG_BYTES_PER_S: Final = 800
"""Ten lines a second, two where two processes write."""

LABELS: Final[Mapping[str, str]] = {"clocks": "as found", "power": "as found"}
"""Nothing of the device is ever set: what sweeps clocks and power is what workloads do."""


@dataclass(frozen=True, slots=True)
class Run:
    """A recording to be made. ``seconds`` are of steps; start and end come on top."""

    name: str
    workload: str
    size: str = "full"
    seconds: float = 10.0
    labels: Mapping[str, str] = field(default_factory=lambda: dict(LABELS))

    @property
    def wall_s(self) -> float:
        """What it takes."""
        return self.seconds + START_S

    @property
    def most_bytes(self) -> int:
        """What its files come to, at most, of one chip."""
        return RUN_BYTES + round(self.wall_s * (RECORDING_BYTES_PER_S + FLOP_LOG_BYTES_PER_S))


@dataclass(frozen=True, slots=True)
class Plan:
    """Runs in order, most wanted first, and the names of those for which the time is too short."""

    runs: tuple[Run, ...]
    dropped: tuple[str, ...]
    budget_s: float

    @property
    def wall_s(self) -> float:
        """What all of it takes."""
        return FIXED_S + sum(run.wall_s for run in self.runs)

    @property
    def most_bytes(self) -> int:
        """What the recordings come to, at most, of one chip."""
        return sum(run.most_bytes for run in self.runs)


_WANTED: Final = {
    "product-bf16": 12,
    "training": 14,
    "idle": 10,
    "decode": 12,
    "product-fp8": 12,
    "training-fp8": 14,
    "training-recompute": 14,
    "prefill": 12,
    "product-bf16-zeros": 10,
    "throttled": 14,
    "interleaved": 12,
    "covered": 14,
    "duty-cycled": 14,
    "smoothed": 12,
    "padded": 12,
    "jittered": 14,
    "lora": 12,
    "finetuning": 12,
    "product-int8": 10,
    "product-tf32": 10,
    "product-fp32": 10,
    "memory-bound": 10,
    "batch": 10,
    "interactive": 14,
    "training-fused": 12,
    "product-fp8-zeros": 8,
    "product-int8-zeros": 8,
    "product-bf16-thin": 8,
}
"""Every workload, the one that would be missed most first, and for how many seconds it is wanted."""


class PlanError(Exception):
    """A campaign that cannot be planned; the message says why."""


def plan(
    only: Sequence[str] = (), *, budget_s: float, size: str = "full", seconds: float | None = None
) -> Plan:
    """Return a campaign of all workloads, or of those named, that takes at most ``budget_s``.

    Where all do not fit, all are shortened alike, to no less than LEAST_S; then the least wanted are left out.
    ``seconds`` replaces what each is wanted for. Raises UnknownWorkloadError, PlanError.
    """
    names = [find_workload(name).name for name in dict.fromkeys(only)] or list(_WANTED)
    runs = [_run(name, size, seconds or float(_WANTED[name])) for name in names]
    left_s = budget_s - FIXED_S
    least_s = min(LEAST_S, *(run.seconds for run in runs))
    fitting = max(0, int(left_s // (least_s + START_S)))
    runs, dropped = runs[:fitting], names[fitting:]
    if not runs:
        raise PlanError(f"{budget_s:g} s is too short for any run")
    wanted_s = sum(run.seconds for run in runs)
    share = (left_s - START_S * len(runs)) / wanted_s
    if share < 1:
        runs = list(_shortened(runs, share, least_s))
    return Plan(tuple(runs), tuple(dropped), budget_s)


def _shortened(runs: Sequence[Run], share: float, least_s: float) -> Iterator[Run]:
    """Yield runs shortened to a share of their seconds, with least_s kept of each and the rest shared out."""
    spare = sum(run.seconds - least_s for run in runs)
    wanted = sum(run.seconds for run in runs)
    part = (share * wanted - least_s * len(runs)) / spare if spare else 0.0
    for run in runs:
        seconds = least_s + (run.seconds - least_s) * part
        yield replace(run, seconds=math.floor(seconds * 10) / 10)


def _run(name: str, size: str, seconds: float) -> Run:
    disguises = find_workload(name).disguises
    labels = dict(LABELS) | ({"disguises": disguises} if disguises else {})
    return Run(name, name, size, seconds, labels)


def table(planned: Plan) -> Iterator[str]:
    """Yield the lines of a plan, with what each run takes, and what all do by its end."""
    yield f"{'run':20} {'size':5} {'steps, s':>8} {'wall, s':>8} {'by, s':>7} {'most KiB':>8}  what it does"
    by_s = 0.0
    for name, wall_s in (("idle", CALLS_S), ("busy", BUSY_CALLS_S)):
        by_s += wall_s
        does = f"what each call of the driver costs, the chip {name}"
        yield f"{'calls, ' + name:20} {'':5} {'':8} {wall_s:8.0f} {by_s:7.0f} {'':8}  {does}"
    for run in planned.runs:
        by_s += run.wall_s
        yield (
            f"{run.name:20} {run.size:5} {run.seconds:8.1f} {run.wall_s:8.0f} {by_s:7.0f} "
            f"{run.most_bytes / 1024:8.0f}  {find_workload(run.workload).does}"
        )
    by_s += OVERHEAD_S
    yield f"{'overhead':20} {'':5} {'':8} {OVERHEAD_S:8.0f} {by_s:7.0f} {'':8}  training with and without a recorder"
    if planned.dropped:
        yield f"left out, for want of time: {', '.join(planned.dropped)}"
    yield (
        f"{len(planned.runs)} runs: {planned.wall_s:.0f} s of {planned.budget_s:.0f} s, "
        f"at most {planned.most_bytes / (1 << 20):.1f} MiB a chip"
    )
