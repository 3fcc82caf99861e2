"""How the recorder is called, and what it cost: the project's own command, in a process of its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.gpu.fake import ORIGIN as FAKE_ORIGIN

PERIOD: Final = "100 ms"
ORIGIN: Final = "python -m tests.gpu campaign"
LICENCE: Final = "CC-BY-4.0"


def record_words(
    out: Path, labels: Mapping[str, str], command: Sequence[str], *, fake: bool = False
) -> list[str]:
    """Return the words that record every chip into ``out`` while a command runs; its status is passed on."""
    words = [sys.executable, "-m", "stillwatch", "agent", "record", str(out), "--period", PERIOD]
    words += ["--origin", FAKE_ORIGIN if fake else ORIGIN, "--licence", LICENCE, "--anonymise"]
    for name, word in labels.items():
        words += ["--label", f"{name}={word}"]
    return [*words, "--", *command]


def convert_words(source: Path, target: Path) -> list[str]:
    """Return the words that write a recording in the form that the target's name says."""
    return [sys.executable, "-m", "stillwatch", "agent", "convert", str(source), str(target)]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used so far: processor time, s, and the most memory, bytes."""

    cpu_s: float
    most_bytes: int


def usage(pid: int, root: Path = Path("/proc")) -> Usage:
    """Return what a process used; OSError when it is gone.

    To the nanosecond where the kernel counts so for threads (those that ended are left out), else in its clock's ticks.
    https://docs.kernel.org/scheduler/sched-stats.html, https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    folder = root / str(pid)
    # The second field is the command's name in brackets, and may hold anything.
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    with suppress(OSError, ValueError, IndexError):
        threads = (folder / "task").iterdir()
        exact_s = sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9
        cpu_s = exact_s or cpu_s
    status = (folder / "status").read_text().splitlines()
    most = next((line.split()[1] for line in status if line.startswith("VmHWM:")), "0")
    return Usage(cpu_s, int(most) * 1024)
