"""Prints what the accounts and the signs say of the published GPT-3 runs: ``python -m tests.mlperf DIR``.

DIR holds ``train/`` and ``events/`` of the logs that docs/results/mlperf.md describes. Telemetry: recorded.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.mlperf.gpt3 import NODES, RUNS, TRUTH_FLOP, Run, read_run
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.accounts.interval import Term
from verifier.accounts.obligations import assess_training_cap
from verifier.agreement.model import Trust
from verifier.workload.coherence import phase_coherence, shifted
from verifier.workload.period import strongest_line, together

TABLE = Path(__file__).resolve().parents[2] / "policies" / "reference" / "chips.toml"
FACTORS = (2.0, 1.0, 0.5, 0.25, 0.1)
DRAWS = 100
"""Random shifts of the nodes in time; the seed is fixed, so that the figures come out alike."""


def _head(*columns: str) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"


def _short(name: str) -> str:
    *_, result, number = name.split("_")
    return f"{result.split('-')[0]}, run {number}"


def accounts(runs: dict[str, Run]) -> Iterator[str]:
    """Yield the table of intervals, a row a run."""
    yield from _head(
        *("run", "run window, s", "upper, FLOP", "over truth", "binds", "estimate, FLOP"),
        *("wall energy, J", "energy bound, FLOP", "coverage", "upper at `meters`"),
    )
    for name, run in runs.items():
        found, meters = run.account(), run.account(Trust.METERS)
        share = found.binding_shares[Term.PEAK_TIME]
        yield (
            f"| {_short(name)} | {run.length_ms / 1000:.2f} | {found.most_flop:.4g} "
            f"| {found.most_flop / TRUTH_FLOP:.3f} | peak x time in {share:.0%} | {found.estimate_flop:.3g} "
            f"| {found.wall_energy_j:.4g} | {found.wall_floor_flop:.4g} | {found.coverage:.4f} "
            f"| {meters.most_flop:.4g} |"
        )


def scaling(folder: Path, table: ChipTable) -> Iterator[str]:
    """Yield the table of the first run with every reading scaled."""
    yield from _head(
        *("watts x", "wall energy, J", "energy bound, FLOP", "upper, FLOP", "over truth", "binds")
    )
    with tempfile.TemporaryDirectory() as scratch:
        for factor in FACTORS:
            run = read_run(folder, RUNS[0], table, factor=factor, scratch=Path(scratch))
            found = run.account()
            share = found.binding_shares[Term.ENERGY_FLOOR]
            yield (
                f"| {factor:g} | {found.wall_energy_j:.4g} | {found.wall_floor_flop:.4g} | {found.most_flop:.4g} "
                f"| {found.most_flop / TRUTH_FLOP:.3f} | energy in {share:.0%} |"
            )


def caps(run: Run) -> Iterator[str]:
    """Yield the table of caps, and what would settle each."""
    yield from _head("cap, FLOP", "outcome", "would settle it")
    found = run.account()
    for cap in (0.0, 1e20, 1e21, 2e21, 3e21, 4e21):
        assessment = assess_training_cap(found, cap)
        remedy = assessment.would_resolve
        yield f"| {cap:.0e} | {assessment.outcome.value} | {remedy.words if remedy else '-'} |"


def signs(runs: dict[str, Run]) -> Iterator[str]:
    """Yield the table of periods and coherence, a row a run."""
    yield from _head(
        *("run", "step events every, s", "line of all nodes, s", "share", "line of one node, s"),
        *("share", "coherence", "shifted: mean, 95th percentile, most", "unrelated, expected"),
    )
    for name, run in runs.items():
        nodes = run.series()
        whole = strongest_line(together(nodes))
        lines = [strongest_line(series) for series in nodes]
        periods, shares = [one.period_s for one in lines], [one.share for one in lines]
        coherence = phase_coherence(nodes, whole.period_s)
        draw = np.random.default_rng(20260101)
        seconds = run.length_ms / 1000
        apart = [
            phase_coherence(
                shifted(nodes, draw.uniform(0, seconds, NODES).tolist()), whole.period_s
            )
            for _ in range(DRAWS)
        ]
        control = np.array([one.value for one in apart], dtype=np.float64)
        yield (
            f"| {_short(name)} | {run.step_s:.3f} | {whole.period_s:.3f} "
            f"({whole.period_s / run.step_s - 1:+.1%}) | {whole.share:.2f} | {min(periods):.3f} to {max(periods):.3f} "
            f"| {min(shares):.2f} to {max(shares):.2f} | {coherence.value:.3f} | {control.mean():.3f}, "
            f"{np.quantile(control, 0.95):.3f}, {control.max():.3f} | {coherence.unrelated:.3f} |"
        )


def main(arguments: list[str]) -> int:
    """Print the tables of one folder; return the exit status."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "train").is_dir():
        sys.stderr.write("usage: python -m tests.mlperf DIR (the folder of train/ and events/)\n")
        return 2
    folder = Path(arguments[0])
    table = read_chip_table(TABLE.read_bytes())
    runs = {name: read_run(folder, name, table) for name in RUNS}
    for part in (accounts(runs), scaling(folder, table), caps(runs[RUNS[0]]), signs(runs)):
        for line in part:
            sys.stdout.write(line + "\n")
        sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
