"""Records every workload on one machine within ten minutes: ``python -m tests.gpu campaign --out DIR``.

First what each call of the driver costs; then the runs, most wanted first, each under the recorder in processes of
their own; last what the recorder costs training. DIR gets results.json and archives of recordings (Parquet where
pyarrow is) and FLOP logs: at most 8 files of at most 16 MiB. They are written anew after every run, so that a campaign
that is cut short leaves what it had. No fault of a run stops it, and nothing of the device is ever set.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tests.gpu.fake import fake_driver
from tests.gpu.pack import pack
from tests.gpu.plan import BUSY_CALLS_S, CALLS_S, OVERHEAD_S, Plan, PlanError, plan, table
from tests.gpu.results import Results
from tests.gpu.running import COMMAND
from tests.gpu.runs import GRACE_S, Outcome, RunError, record, run_process
from tests.gpu.workloads.interface import SIZES
from tests.gpu.workloads.registry import UnknownWorkloadError

ROOT: Final = Path(__file__).resolve().parents[2]
BUSY_WORKLOAD: Final = "product-bf16"
OVERHEAD_WORKLOAD: Final = "finetuning"
_FAKE_RUN_S: Final = 2.0
_FAKE_OVERHEAD_S: Final = 14.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """A plan and where it runs: ``work`` for what is made, ``out`` for what is carried away."""

    planned: Plan
    out: Path
    work: Path
    environment: Mapping[str, str]
    fake: bool
    device: str
    size: str
    now_s: Callable[[], float]

    def carry_out(self, began_ms: int) -> Results:
        """Do what the plan says, and leave results in ``out`` after every part of it."""
        until_s = self.now_s() + self.planned.budget_s
        results = Results(self.fake, began_ms, self.planned)
        results.calls = self._measure("calls", "calls", [], CALLS_S + GRACE_S)
        self._keep(results)
        busy = ["--beside", BUSY_WORKLOAD, "--size", self.size, "--device", self.device]
        results.busy_calls = self._measure("busy-calls", "calls", busy, BUSY_CALLS_S + GRACE_S)
        self._keep(results)
        for run in self.planned.runs:
            left_s = until_s - OVERHEAD_S - self.now_s()
            if left_s < run.wall_s:
                why = f"{left_s:.0f} s were left, and it takes {run.wall_s:.0f}"
                outcome = Outcome(run.name, "skipped", why)
            else:
                outcome = record(
                    run,
                    self.work,
                    self.environment,
                    device=self.device,
                    fake=self.fake,
                    most_s=min(run.wall_s + GRACE_S, left_s),
                    now_s=self.now_s,
                )
            click.echo(
                f"{run.name:20} {outcome.outcome:11} {outcome.wall_s:6.1f} s "
                f"{outcome.flop_per_s / 1e12:8.1f} TFLOP/s  {outcome.why}"
            )
            results.outcomes.append(outcome)
            self._keep(results)
        left_s = until_s - self.now_s()
        seconds = _FAKE_OVERHEAD_S if self.fake else OVERHEAD_S * 2 / 3
        words = ["--workload", OVERHEAD_WORKLOAD, "--size", self.size, "--seconds", f"{seconds:g}"]
        words += ["--device", self.device]
        results.overhead = self._measure("overhead", "overhead", words, left_s)
        results.finished = True
        self._keep(results)
        return results

    def _measure(self, name: str, command: str, words: list[str], most_s: float) -> object:
        """Run one of the other commands; return its table, or what went wrong."""
        target = self.work / f"{name}.json"
        asked = [*COMMAND, command, "--json", str(target), *words]
        fault = None
        try:
            run_process(asked, self.environment, most_s, self.work / f"{name}.txt")
        except (RunError, OSError) as error:
            fault = str(error)
        try:
            found = json.loads(target.read_text())
        except (OSError, ValueError) as error:
            found, fault = None, fault or str(error)
        click.echo(f"{name:20} {'failed' if fault else 'measured':11} {fault or ''}")
        return {"fault": fault, "table": found} if fault else found

    def _keep(self, results: Results) -> None:
        files = [path for outcome in results.outcomes for path in outcome.files]
        stem = "fake-recordings" if self.fake else "recordings"
        archives, left_out = pack(files, self.out, stem)
        results.archives = [path.name for path in archives]
        results.left_out = left_out
        results.write(self.out)


def _environment() -> dict[str, str]:
    """Return the variables of processes that find the project's packages, wherever they are started."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Else CUDA counts chips by their speed, and the driver by their place.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@click.command(help=__doc__)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--dry-run", is_flag=True, help="Print the plan, with its time and bytes; do nothing."
)
@click.option(
    "--fake", is_flag=True, help="Tiny workloads on the CPU, and a fake driver: a rehearsal."
)
@click.option("--only", multiple=True, metavar="NAME", help="This workload; may be repeated.")
@click.option(
    "--budget", type=click.FloatRange(1), default=540.0, show_default=True, help="Seconds in all."
)
@click.option("--seconds", type=click.FloatRange(1), help="Of steps of each run, if time allows.")
@click.option("--size", type=click.Choice(SIZES), default="full", show_default=True)
@click.option("--device", help="PyTorch's name of it; the first GPU.")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep every recording and each process's words there; a temporary folder otherwise.",
)
def main(
    *,
    out: Path,
    dry_run: bool,
    fake: bool,
    only: tuple[str, ...],
    budget: float,
    seconds: float | None,
    size: str,
    device: str | None,
    work: Path | None,
) -> None:
    """Record every workload."""
    if fake:
        size, device, seconds = "tiny", "cpu", seconds or _FAKE_RUN_S
    device = device or "cuda:0"  # never the CPU unasked: a full size would not end there
    try:
        planned = plan(only, budget_s=budget, size=size, seconds=seconds)
    except (UnknownWorkloadError, PlanError) as error:
        raise click.ClickException(str(error)) from error
    for line in table(planned):
        click.echo(line)
    if dry_run:
        return
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty: what lies there would be taken for this")
    # Told to end, it ends what it started as well.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory() as scratch:
        folder = work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        environment = _environment()
        if fake:
            environment |= fake_driver(folder / "driver") | {"OMP_NUM_THREADS": "1"}
        campaign = Campaign(planned, out, folder, environment, fake, device, size, time.monotonic)
        results = campaign.carry_out(int(time.time() * 1000))
    wrong = [one.name for one in results.outcomes if one.outcome != "recorded"]
    click.echo(f"{out}: {len(results.outcomes) - len(wrong)} recordings")
    if wrong:
        click.echo(f"not recorded: {', '.join(wrong)}; results.json says why", err=True)
        sys.exit(1)
