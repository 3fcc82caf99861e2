"""Compare what an auditor would have said of a recording with what its workload executed.

``python -m tests.gpu compare DIR``: every recording in DIR that has a FLOP log beside it (NAME.parquet or NAME.csv.gz,
and NAME.flop.gz), through the agent's window and the verifier's bounds. It prints three tables, and ends with status 1
if an interval does not hold what was executed in any window, or contradicts itself, or a run cannot be read. Runs too
short for a whole window are left out, and named.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from attestor.errors import RecordingError
from statements.features import FEATURES
from tests.gpu.evidence import (
    PIPES,
    Evidence,
    EvidenceError,
    TooShortError,
    read_evidence,
    without,
)
from tests.gpu.flop_log import FlopLogError
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.accounts.columns import ChipWindows, Float64
from verifier.accounts.interval import Intervals, Term, feature, intervals
from verifier.accounts.party import sampled_share
from verifier.agreement.model import Trust

CHIPS: Final = Path(__file__).parents[2] / "policies/reference/chips.toml"
WIDEST: Final = 4.0
"""What upper over lower should come to, at most, where all was BF16 and undisguised, and clock and pipes are known."""
_ACTIVITY: Final = ("sm_active", "tensor_active", "hmma_active", "imma_active", "dmma_active")
_ACTIVITY_REST: Final = ("fp16_active", "fp32_active", "fp64_active", "dram_active")
_ALTERED: Final = 0.1
"""The share by which a disguise must change a feature's mean for it to be listed."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one run. Ratios are to what was executed, medians of its windows; NaN where nothing was.

    ``held`` of ``windows`` chip windows had the truth within their interval. ``width`` is upper over lower, infinite
    where nothing is proved; ``no_pipes`` and ``energy`` are upper over truth with less evidence.
    """

    run: str
    telemetry: str
    windows: int
    executed_per_s: float
    useful_share: float
    held: int
    contradicted: int
    lower: float
    estimate: float
    upper: float
    width: float
    width16: float
    no_pipes: float
    energy: float
    edge: float
    binds: str


def judge(run: Evidence, table: ChipTable) -> Row:
    """Lay the bounds of a run beside its truth."""
    windows = run.windows.chips
    sampled = sampled_share(run.windows)
    found, truth = _bounds(windows, table, sampled), run.executed
    held = (found.lower <= truth) & (truth <= found.upper)
    by_energy = found.terms[:, Term.ENERGY_FLOOR]
    return Row(
        run=run.name,
        telemetry=run.telemetry,
        windows=len(windows),
        executed_per_s=float(truth.sum()) / run.seconds,
        useful_share=_share(float(run.useful.sum()), float(truth.sum())),
        held=int(held.sum()),
        contradicted=int(found.contradicted.sum()),
        lower=_median(found.lower, truth),
        estimate=_median(found.estimate, truth),
        upper=_median(found.upper, truth),
        width=_median(found.upper, found.lower),
        width16=_median(found.upper, _bounds(windows, table, sampled, tf32_excluded=True).lower),
        no_pipes=_median(_bounds(without(windows, PIPES), table, sampled).upper, truth),
        energy=_median(np.where(np.isfinite(by_energy), by_energy, np.nan), truth),
        edge=float(np.max(np.divide(run.edge, truth, out=np.zeros_like(truth), where=truth > 0))),
        binds=Term(int(np.bincount(found.binds).argmax())).name,
    )


def _bounds(
    windows: ChipWindows, table: ChipTable, sampled: Float64, *, tf32_excluded: bool = False
) -> Intervals:
    period = (int(windows.start_ms.min()), int(windows.end_ms.max()))
    return intervals(
        windows, table, period, Trust.COUNTERS, tf32_excluded=tf32_excluded, sampled=sampled
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _median(values: Float64, of: Float64) -> float:
    """Return the median of the ratios; infinite ones count, those to nothing by nothing do not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = values / of
    known = ratios[~np.isnan(ratios)]
    return float(np.median(known)) if known.size else float("nan")


def pipes(run: Evidence) -> dict[str, float]:
    """Return the mean activity of each pipe over a run: what work in a precision shows up as."""
    chips = run.windows.chips
    names = (*_ACTIVITY, *_ACTIVITY_REST, "utilisation")
    return {name: _mean(feature(chips, f"{name}_mean")) for name in names}


def _mean(values: Float64) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def altered(disguise: Evidence, plain: Evidence) -> list[tuple[str, float, float]]:
    """Return what a disguise changes by a tenth or more, most changed first: feature, its mean plain and disguised."""
    found: list[tuple[float, str, float, float]] = []
    for one in FEATURES:
        before = _mean(feature(plain.windows.chips, one.name))
        after = _mean(feature(disguise.windows.chips, one.name))
        scale = max(abs(before), abs(after))
        if np.isfinite(before) and np.isfinite(after) and scale > 0:
            change = abs(after - before) / scale
            if change >= _ALTERED:
                found.append((change, one.name, before, after))
    return [(name, before, after) for _, name, before, after in sorted(found, reverse=True)]


def find_runs(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield recordings with their FLOP logs, by name."""
    for log in sorted(folder.glob("*.flop.gz")):
        name = log.name.removesuffix(".flop.gz")
        for ending in (".parquet", ".csv.gz"):
            if (recording := folder / f"{name}{ending}").exists():
                yield recording, log
                break


def _figures(row: Row) -> str:
    numbers = (row.lower, row.estimate, row.upper, row.width, row.width16, row.no_pipes, row.energy)
    return (
        f"| {row.run} | {row.telemetry} | {row.windows} | {row.executed_per_s / 1e12:.1f} | {row.useful_share:.2f} | "
        f"{row.held} | "
        + " | ".join(f"{number:.2f}" for number in numbers)
        + f" | {row.edge:.3f} | {row.binds} |"
    )


def tables(runs: Sequence[Evidence], rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the report, Markdown."""
    yield "| run | telemetry | windows | executed, TFLOP/s | useful | held | lower | estimate | upper | width | no TF32 | without pipes | energy | edge | binds |"  # noqa: E501
    yield "|" + "---|" * 15
    yield from map(_figures, rows)
    yield ""
    yield "| run | precisions | " + " | ".join((*_ACTIVITY, *_ACTIVITY_REST, "utilisation")) + " |"
    yield "|" + "---|" * (3 + len(_ACTIVITY) + len(_ACTIVITY_REST))
    for run in runs:
        said = " | ".join(f"{value:.3f}" for value in pipes(run).values())
        yield f"| {run.name} | {_precisions(run.by_precision)} | {said} |"
    by_name = {run.name: run for run in runs}
    pairs = [(run, by_name.get(run.labels.get("disguises", ""))) for run in runs]
    if any(plain is not None for _, plain in pairs):
        yield ""
        yield "| disguise | of | features that it changes by a tenth or more: plain, disguised |"
        yield "|---|---|---|"
    for run, plain in pairs:
        if plain is not None:
            changes = "; ".join(f"{n} {b:.3g}, {a:.3g}" for n, b, a in altered(run, plain))
            yield f"| {run.name} | {plain.name} | {changes or 'none'} |"


def too_wide(runs: Sequence[Evidence], rows: Sequence[Row]) -> list[str]:
    """Return the runs of BF16, undisguised, whose interval is wider than it should be, or proves nothing."""
    return [
        f"{row.run} ({row.width:.2f})"
        for run, row in zip(runs, rows, strict=True)
        if set(run.by_precision) == {"bf16"} and "disguises" not in run.labels
        if not row.width <= WIDEST
    ]


def _precisions(executed: Mapping[str, float]) -> str:
    total = sum(executed.values())
    return ", ".join(
        f"{name} {flop / total:.0%}" for name, flop in sorted(executed.items()) if total and flop
    )


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--window",
    "window_s",
    type=click.IntRange(1, 3_600),
    default=10,
    show_default=True,
    help="Seconds.",
)
@click.option(
    "--json", "target", type=click.Path(path_type=Path), help="Write the figures there, too."
)
def main(folder: Path, window_s: int, target: Path | None) -> None:
    """Compare the runs of a folder."""
    table = read_chip_table(CHIPS.read_bytes())
    runs: list[Evidence] = []
    unread: list[str] = []
    for recording, log in find_runs(folder):
        try:
            runs.append(read_evidence(recording, log, table, window_ms=window_s * 1000))
        except TooShortError as error:
            click.echo(f"left out: {error}", err=True)
        except (EvidenceError, FlopLogError, RecordingError) as error:
            click.echo(f"not read: {error}", err=True)
            unread.append(recording.name)
    if not runs:
        raise click.ClickException(f"{folder}: no run that could be compared")
    rows = [judge(run, table) for run in runs]
    for line in tables(runs, rows):
        click.echo(line)
    if target is not None:
        figures = [
            {**asdict(row), "pipes": pipes(run), "executed": run.by_precision}
            for run, row in zip(runs, rows, strict=True)
        ]
        target.write_text(json.dumps(figures, indent=1) + "\n")
    for name in too_wide(runs, rows):
        click.echo(f"\nwider than {WIDEST:g}: {name}")
    wrong = [row.run for row in rows if row.held < row.windows or row.contradicted]
    if wrong:
        click.echo(f"\nnot held in every window: {', '.join(wrong)}", err=True)
    if wrong or unread:
        sys.exit(1)
    click.echo(f"\nall {sum(row.windows for row in rows)} windows held")


if __name__ == "__main__":
    main()
