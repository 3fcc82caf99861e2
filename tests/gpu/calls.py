"""Measures what each call of NVML and GPM costs, and which there are: ``python -m tests.gpu calls``.

A table as JSON: of each chip each call with how often it was made, the median and 99th percentile of its time, us, the
driver's error code where it refuses, and the last answer. It is written anew after each call, so that one that hangs is
known by its name. With ``--beside`` a workload keeps the chip busy meanwhile, in a process of its own: a driver may
answer such a chip later, and its activity is of something.
"""

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import pynvml

from tests.gpu.call_table import REFUSALS, Ask, Call, Handle, calls
from tests.gpu.running import COMMAND
from tests.gpu.workloads.interface import SIZES

FORMAT: Final = "stillwatch.calls/1"
MOST_CALLS: Final = 200
MOST_NS: Final = 100_000_000
"""A call is made so often, or for so long, whichever is first."""
REFUSED_CALLS: Final = 3
"""How often a call is made that is refused: refusals can be slow at first."""
PREPARED_S: Final = 90.0
"""How long the workload beside may take to begin."""
BUSY_S: Final = 1.0
"""How long it has run before the first call."""
_LONGEST_ANSWER: Final = 120


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call came to. ``error`` is NVML's code, or what the binding raised; ``None`` where it was answered."""

    call: str
    count: int
    median_us: float
    p99_us: float
    error: int | str | None
    answer: str


def percentile(values: Sequence[int], share: float) -> int:
    """Return the least value that at least ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(call: Call, now_ns: Callable[[], int]) -> Cost:
    """Make a call until it has been made often or long enough; what it needs beforehand is not timed."""
    error, found = _asked(call.prepare)
    if error is not None:
        return Cost(call.name, 0, 0.0, 0.0, error, "")
    took: list[int] = []
    began = now_ns()
    while len(took) < (REFUSED_CALLS if error is not None else MOST_CALLS):
        before = now_ns()
        if before - began >= MOST_NS and took:
            break
        error, found = _asked(call.ask)
        took.append(now_ns() - before)
    answer = "" if error is not None else " ".join(str(found).split())[:_LONGEST_ANSWER]
    median, p99 = percentile(took, 0.5) / 1000, percentile(took, 0.99) / 1000
    return Cost(call.name, len(took), median, p99, error, answer)


def _asked(ask: Ask) -> tuple[int | str | None, object]:
    """Return the error of a call, or its answer."""
    try:
        return None, ask()
    except pynvml.NVMLError as refusal:
        return int(refusal.value), None
    except REFUSALS as refusal:
        return type(refusal).__name__, None


def _handles() -> Iterator[tuple[str, Handle]]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        yield str(pynvml.nvmlDeviceGetName(handle)), handle


@click.command(help=__doc__)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the table there.")
@click.option("--beside", metavar="NAME", help="Measure while this workload runs.")
@click.option("--size", type=click.Choice(SIZES), default="full", show_default=True)
@click.option("--device", help="PyTorch's name of the workload's; the first GPU, or else the CPU.")
def main(*, target: Path | None, beside: str | None, size: str, device: str | None) -> None:
    """Measure every call of every chip."""
    if beside is None:
        _ask_driver(target, None)
        return
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "x.flop.gz"
        words = [*COMMAND, "run", beside, "--size", size, "--seconds", "600"]
        words += ["--flop-log", str(log), *(["--device", device] if device else [])]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            try:
                _await(process, log)
                _ask_driver(target, beside)
                if process.poll() is not None:
                    raise click.ClickException(f"{beside} ended before the measurement did")
            finally:
                process.kill()


def _await(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a workload is prepared: it opens its log then, and begins."""
    until_s = time.monotonic() + PREPARED_S
    while not log.exists():
        if process.poll() is not None or time.monotonic() > until_s:
            raise click.ClickException("the workload beside did not begin")
        time.sleep(0.05)
    time.sleep(BUSY_S)


def _ask_driver(target: Path | None, beside: str | None) -> None:
    try:
        pynvml.nvmlInit()
        try:
            _measure_all(target, beside)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise click.ClickException(f"no driver to ask: {error}") from error


def _measure_all(target: Path | None, beside: str | None) -> None:
    chips: list[dict[str, object]] = []
    table: dict[str, object] = {
        "format": FORMAT,
        "driver": str(pynvml.nvmlSystemGetDriverVersion()),
        "beside": beside,
        "chips": chips,
    }
    for row, (model, handle) in enumerate(_handles()):
        costs: list[dict[str, object]] = []
        chips.append({"chip": row, "model": model, "calls": costs})
        for call in calls(handle):
            table["measuring"] = call.name
            _write(target, table)
            cost = measure(call, time.perf_counter_ns)
            costs.append(asdict(cost))
            _say(cost)
    table.pop("measuring", None)
    _write(target, table)


def _say(cost: Cost) -> None:
    said = cost.answer if cost.error is None else f"refused: {cost.error}"
    click.echo(f"{cost.call:70} {cost.count:4} {cost.median_us:9.1f} {cost.p99_us:9.1f} us  {said}")


def _write(target: Path | None, table: dict[str, object]) -> None:
    if target is not None:
        target.write_text(json.dumps(table, indent=1) + "\n")
