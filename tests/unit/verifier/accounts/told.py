"""What nodes of a party tell in the tests of the accounts, a chip a node, a window a minute."""

import math
from dataclasses import dataclass, field, replace

from protos.stillwatch.statement.v1 import summary_pb2
from statements.features import COLUMN, FEATURE_SET, WIDTH, pack_rows
from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import ColumnsBuilder
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.party import PartyAccount, account
from verifier.agreement.model import Trust

MODEL = "NVIDIA H100 80GB HBM3"
PEAK = 2 * 540_672 * 1.98e9
MINUTE = 60_000
MISSING = 2**64 - 1


@dataclass(frozen=True)
class Window:
    """One window of a node of one chip."""

    number: int = 0
    features: dict[str, float] = field(default_factory=dict)
    energy_j: tuple[float, float] | None = None
    wall_j: float | None = None
    boot: bytes = b"\x01" * 16
    chips: int = 1
    model: str = MODEL
    taken: int = 60


def summary(window: Window) -> summary_pb2.WorkloadSummary:
    row = [math.nan] * WIDTH
    for name, value in window.features.items():
        row[COLUMN[name]] = value
    found = summary_pb2.WorkloadSummary(
        feature_set=FEATURE_SET,
        samples_expected=60,
        samples_taken=window.taken,
        largest_gap_ms=1000,
        boot_id=window.boot,
        chip_features=pack_rows([row] * window.chips),
    )
    if window.energy_j is not None:
        found.energy_start_mj.extend([round(window.energy_j[0] * 1000)] * window.chips)
        found.energy_end_mj.extend([round(window.energy_j[1] * 1000)] * window.chips)
        found.energy_start_at.extend([window.number * MINUTE + MINUTE] * window.chips)
        found.energy_end_at.extend([window.number * MINUTE + 2 * MINUTE] * window.chips)
    if window.wall_j is not None:
        found.node.wall_energy_joules = window.wall_j
        found.node.wall_covered_ms = MINUTE
    return found


def party(
    table: ChipTable,
    *windows: Window,
    minutes: int = 1,
    chips: int = 1,
    trust: Trust = Trust.COUNTERS,
    nodes: int = 1,
    **changes: object,
) -> PartyAccount:
    builder = ColumnsBuilder()
    for node in range(nodes):
        for window in windows:
            start = (window.number + 1) * MINUTE
            models = [table.row(window.model)] * window.chips
            builder.add(node, start, start + MINUTE, summary(window), models)
    expected = [
        replace(ExpectedNode(n, f"node-{n}", (table.row(MODEL),) * chips, 0), **changes)  # type: ignore[arg-type] # by name
        for n in range(nodes)
    ]
    period = (MINUTE, (minutes + 1) * MINUTE)
    return account(builder.build(), expected, period, table, trust)


BUSY = {
    "tensor_active_mean": 0.4,
    "hmma_active_mean": 0.4,
    "imma_active_mean": 0.0,
    "dmma_active_mean": 0.0,
    "fp16_active_mean": 0.02,
    "fp32_active_mean": 0.05,
    "fp64_active_mean": 0.0,
    "sm_active_mean": 0.9,
    "sm_clock_mean": 1755.0,
    "sm_clock_tensor_mean": 1755.0,
    "utilisation_mean": 1.0,
    "power_mean": 550.0,
}
IDLE = {
    "utilisation_mean": 0.0,
    "sm_active_mean": 0.0,
    "tensor_active_mean": 0.0,
    "power_mean": 72.0,
}
