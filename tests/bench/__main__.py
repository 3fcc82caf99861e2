"""Measure, print a table, and write ``build/bench.json``.

``python -m tests.bench [NAME …]``. Each bench is a module beside this one with ``measure() -> Figure``; a figure is a
ratio to a reference measured in the same run on the same machine. "Required" and "reach" are what the project asks of
itself (docs/results/bench.md); a figure below them is reported, never hidden.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from tests.bench.figure import Figure

NAMES = tuple(
    sorted(
        path.stem
        for path in Path(__file__).parent.glob("*.py")
        if path.stem not in {"__main__", "figure"}
    )
)
TARGET = Path("build/bench.json")


def main(wanted: list[str]) -> int:
    """Run the benches named, or all; the exit status says whether all could be measured."""
    unknown = set(wanted) - set(NAMES)
    if unknown:
        print(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")  # noqa: T201
        return 2
    console = Console()
    table = Table("bench", "value", "beside", "ratio", "required", "reach", "met")
    figures: list[Figure] = []
    for name in wanted or NAMES:
        console.print(f"measuring {name} …", style="dim")
        figure = cast("Figure", importlib.import_module(f"tests.bench.{name}").measure())
        figures.append(figure)
        table.add_row(
            figure["name"],
            f"{figure['value']:,.4g} {figure['unit']}",
            f"{figure['reference']}: {figure['reference_value']:,.4g}",
            f"{figure['ratio']:.3g}",
            f"{figure['required']:g}",
            f"{figure['reach']:g}",
            "yes" if figure["met"] else "no",
        )
    console.print(table)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
