"""Makes one recording: a workload under the recorder, in processes of their own. Whatever goes wrong is an outcome."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from attestor.errors import RecordingError
from attestor.recording import RecordingReader
from tests.gpu.fake import confess
from tests.gpu.flop_log import FlopLogError, read_flop_log
from tests.gpu.plan import Run
from tests.gpu.recorder import convert_words, record_words
from tests.gpu.running import COMMAND, UNAVAILABLE

GRACE_S: Final = 30.0
"""How much longer than planned a run may take before it is stopped."""
_STOP_S: Final = 5.0
_CONVERT_S: Final = 30.0
_LONGEST_WHY: Final = 800


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run: ``recorded``, ``unavailable`` (the machine cannot do it), ``failed`` or ``skipped``, and why.

    ``files`` are those to be carried away; ``executed`` operations by precision, in the ``logged_s`` of the log.
    """

    name: str
    outcome: str
    why: str = ""
    wall_s: float = 0.0
    files: tuple[Path, ...] = ()
    executed: Mapping[str, float] = field(default_factory=dict)
    logged_s: float = 0.0
    readings: int = 0

    @property
    def flop_per_s(self) -> float:
        """Operations a second, over the time from the log's begin to its end."""
        return sum(self.executed.values()) / self.logged_s if self.logged_s else 0.0


class RunError(Exception):
    """A process that did not end well; the message says how, with its last words."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def run_process(
    words: Sequence[str], environment: Mapping[str, str], most_s: float, said: Path
) -> None:
    """Run a process and all that it starts for at most so long; its words go to ``said``. Raises RunError."""
    with said.open("wb") as file:
        process = subprocess.Popen(
            words,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(most_s)
        except subprocess.TimeoutExpired:
            raise RunError(f"not done after {most_s:.0f} s; {_last_words(said)}") from None
        finally:
            _stop(process)
    if status:
        raise RunError(f"status {status}: {_last_words(said)}", status)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process's session, gently first: nothing of it may go on beside the next run."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _last_words(said: Path) -> str:
    return said.read_text(errors="replace").strip()[-_LONGEST_WHY:]


def workload_words(run: Run, device: str) -> list[str]:
    """Return the command that runs a workload."""
    words = [*COMMAND, "run", run.workload, "--size", run.size]
    return [*words, "--seconds", f"{run.seconds:g}", "--device", device]


def record(
    run: Run,
    folder: Path,
    environment: Mapping[str, str],
    *,
    device: str,
    fake: bool,
    most_s: float,
    now_s: Callable[[], float],
) -> Outcome:
    """Make one recording in ``folder``, ``fake`` where no chip is read; no fault of the run is raised."""
    recording, log = folder / f"{run.name}.csv.gz", folder / f"{run.name}.flop.gz"
    labels = {"workload": run.workload, "size": run.size, **run.labels}
    words = record_words(recording, labels, workload_words(run, device), fake=fake)
    began_s = now_s()
    try:
        run_process(words, environment, most_s, folder / f"{run.name}.txt")
    except RunError as error:
        outcome = "unavailable" if error.status == UNAVAILABLE else "failed"
        return Outcome(run.name, outcome, str(error), now_s() - began_s, _set_aside(recording, log))
    except OSError as error:
        return Outcome(run.name, "failed", str(error), now_s() - began_s)
    try:
        if fake:
            confess(recording)
        executed, logged_s, readings = _read_back(recording, log)
    except (FlopLogError, RecordingError) as error:
        kept = _set_aside(recording, log)
        return Outcome(run.name, "failed", str(error), now_s() - began_s, kept)
    form, why = _smaller(recording, environment)
    took_s = now_s() - began_s
    return Outcome(run.name, "recorded", why, took_s, (form, log), executed, logged_s, readings)


def _read_back(recording: Path, log: Path) -> tuple[dict[str, float], float, int]:
    """Return the operations that a log counts by precision, over how many seconds, and the recording's readings."""
    works = read_flop_log(log)[1]
    with RecordingReader(recording) as reader:
        readings = sum(1 for _ in reader)
    executed: dict[str, float] = {}
    for work in works:
        if work.executed_flop:
            executed[work.precision] = executed.get(work.precision, 0.0) + work.executed_flop
    ends = [work.end_ms for work in works]
    logged_ms = max(ends) - min(work.begin_ms for work in works) if works else 0.0
    return executed, logged_ms / 1000, readings


def _set_aside(recording: Path, log: Path) -> tuple[Path, ...]:
    """Return what there is of a run that failed, under names by which it is not taken for one that did not."""
    kept = []
    for path, ending in ((recording, "csv.gz"), (log, "flop.gz")):
        if path.exists():
            name = path.name.removesuffix(f".{ending}")
            kept.append(path.rename(path.with_name(f"{name}.{ending.replace('.', '-')}.failed")))
    return tuple(kept)


def _smaller(recording: Path, environment: Mapping[str, str]) -> tuple[Path, str]:
    """Write a recording as Parquet, where that can be had; return what to carry away, and why it is not Parquet."""
    parquet = recording.with_name(f"{recording.name.removesuffix('.csv.gz')}.parquet")
    said = parquet.with_suffix(".convert.txt")
    try:
        run_process(convert_words(recording, parquet), environment, _CONVERT_S, said)
    except (RunError, OSError) as error:
        return recording, f"not written as Parquet: {error}"
    return parquet, ""
