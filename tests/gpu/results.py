"""What a campaign says of itself: results.json, written anew after every run."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from tests.gpu.fake import ORIGIN as FAKE_ORIGIN
from tests.gpu.plan import Plan
from tests.gpu.runs import Outcome

FORMAT: Final = "stillwatch.campaign/1"
NAME: Final = "results.json"
_PACKAGES: Final = ("torch", "nvidia-ml-py", "pyarrow")


def machine() -> dict[str, object]:
    """Return what the machine is, without naming it."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": versions,
    }


@dataclass(slots=True)
class Results:
    """A campaign as far as it got. ``calls``, ``busy_calls`` and ``overhead`` are tables, or the fault of each."""

    fake: bool
    began_ms: int
    planned: Plan
    outcomes: list[Outcome] = field(default_factory=list)
    calls: object = None
    busy_calls: object = None
    overhead: object = None
    archives: Sequence[str] = ()
    left_out: Sequence[str] = ()
    finished: bool = False

    def write(self, folder: Path) -> None:
        """Write results.json, whole or not at all."""
        told = {
            "format": FORMAT,
            "telemetry": FAKE_ORIGIN if self.fake else "recorded",
            "finished": self.finished,
            "began_ms": self.began_ms,
            "machine": machine(),
            "budget_s": self.planned.budget_s,
            "dropped": list(self.planned.dropped),
            "runs": [self._run(outcome) for outcome in self.outcomes],
            "calls": self.calls,
            "busy_calls": self.busy_calls,
            "overhead": self.overhead,
            "archives": list(self.archives),
            "left_out": list(self.left_out),
        }
        fresh = folder / f"{NAME}.fresh"
        fresh.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        fresh.replace(folder / NAME)

    def _run(self, outcome: Outcome) -> dict[str, object]:
        run = next(run for run in self.planned.runs if run.name == outcome.name)
        return {
            "name": run.name,
            "workload": run.workload,
            "size": run.size,
            "seconds": run.seconds,
            "labels": dict(run.labels),
            "outcome": outcome.outcome,
            "why": outcome.why,
            "wall_s": round(outcome.wall_s, 2),
            "logged_s": round(outcome.logged_s, 2),
            "files": [path.name for path in outcome.files],
            "executed": dict(outcome.executed),
            "readings": outcome.readings,
        }
