"""Measure, print a table, and write ``build/bench.json``.

``python -m tests.bench [NAME …]``. Each bench is a module beside this one with ``measure() -> Figure``, what several
share is in ``parts/``; a figure is a ratio to a reference measured in the same run on the same machine. "Required" and
"reach" are what the project asks of itself (docs/results/bench.md); a figure below them is reported, never hidden.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from tests.bench.figure import Figure
from tests.bench.parts.machine import Stopwatch

NAMES = tuple(
    sorted(
        path.stem
        for path in Path(__file__).parent.glob("*.py")
        if path.stem not in {"__main__", "figure"}
    )
)
TARGET = Path("build/bench.json")
MOST_OTHERS = 0.1
"""Where others used more than this share of the cores, nothing was met: the reference may have been starved."""


def main(wanted: list[str]) -> int:
    """Run the benches named, or all; the exit status says whether all could be measured."""
    unknown = set(wanted) - set(NAMES)
    if unknown:
        print(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")  # noqa: T201
        return 2
    console = Console()
    table = Table("bench", "value", "beside it", "ratio", "required", "reach", "met")
    figures: list[Figure] = []
    notes: list[str] = []
    for name in wanted or NAMES:
        console.print(f"measuring {name} …", style="dim")
        watch = Stopwatch()
        figure = cast("Figure", importlib.import_module(f"tests.bench.{name}").measure())
        others = watch.others()
        busy = others > MOST_OTHERS
        figure["met"] = figure["met"] and not busy
        figures.append(figure)
        unit, _, note = figure["unit"].partition("; ")
        table.add_row(
            figure["name"],
            f"{figure['value']:,.0f} {unit}",
            f"{figure['reference_value']:,.0f}",
            f"{figure['ratio']:.3g}",
            f"{figure['required']:g}",
            f"{figure['reach']:g}",
            "busy" if busy else "yes" if figure["met"] else "no",
        )
        notes.append(f"{figure['name']}: {note}; beside it {figure['reference']}")
        if busy:
            notes.append(
                f"{figure['name']}: others used {others:.0%} of the cores meanwhile: measure again"
            )
    console.print(table)
    for line in notes:
        console.print(line, style="dim")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
