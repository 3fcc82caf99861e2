"""``audit_run``: the whole command ``audit run`` over two workers, beside the same over one process.

A pause in force, from a folder to the verdict's bytes on stdout, with everything that a process takes to start. The two
are run in turns, and must print the same bytes; the best of three runs each is told. Nothing here is what an auditor of
a small log gains: workers take their time to start.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench.figure import Figure
from tests.unit.verifier.logbook import MINUTE, PARTIES, T0, TRAINING, Logbook
from verifier.instants import rfc3339

NODES: Final = 100
"""Of each party."""
WINDOWS: Final = 240
MINUTES_A_TICK: Final = 10
IN_FORCE: Final = 40
"""Minutes after which the pause is in force."""
ROUNDS: Final = 3
REQUIRED: Final = 1.2
REACH: Final = 1.6


def measure() -> Figure:
    """Return the figure: 300 nodes of 8 chips with 240 windows each, of which the last hours are judged."""
    with tempfile.TemporaryDirectory() as folder:
        command = _command(_book(), Path(folder))
        rates: dict[int, float] = {1: 0.0, 2: 0.0}
        printed: set[str] = set()
        for _ in range(ROUNDS):
            for workers in (1, 2):
                began = time.perf_counter()
                done = subprocess.run(
                    [*command, "--workers", str(workers)], capture_output=True, check=False
                )
                spent = time.perf_counter() - began
                if done.returncode not in {0, 1, 3}:
                    raise RuntimeError(done.stderr.decode())
                printed.add(hashlib.sha256(done.stdout).hexdigest())
                rates[workers] = max(rates[workers], len(PARTIES) * NODES * WINDOWS / spent)
    if len(printed) != 1:
        raise RuntimeError("verdicts differ with the number of workers")
    ratio = rates[2] / rates[1]
    return Figure(
        name="audit_run",
        value=rates[2],
        unit="node-windows/s; the whole command over two workers, 8 chips, power by the second, a folder of 72,000",
        reference="the same over one process",
        reference_value=rates[1],
        ratio=ratio,
        required=REQUIRED,
        reach=REACH,
        met=ratio >= REQUIRED,
    )


def _command(book: Logbook, folder: Path) -> list[str]:
    book.serve(folder / "log")
    (folder / "agreement.toml").write_text(book.text)
    period = T0 + IN_FORCE * MINUTE, T0 + (WINDOWS - 2 * MINUTES_A_TICK) * MINUTE
    return [
        *(sys.executable, "-m", "stillwatch", "audit", "run", "-o", "json"),
        *("--agreement", str(folder / "agreement.toml"), "--log", str(folder / "log")),
        *("--period", "/".join(map(rfc3339, period))),
    ]


def _book() -> Logbook:
    """Return a log of a pause that is triggered at once, and in which every node of three parties trains on."""
    book = Logbook.begin({"windows.late_grace": '"10 min"', "windows.tick": '"10 min"'})
    book.trigger(NODES)
    book.minutes(replace(TRAINING, slots=True), WINDOWS, a_tick=MINUTES_A_TICK)
    return book
