"""``python -m tests.gpu COMMAND``: recordings of real chips, beside counts of what was executed.

Each command is a module's ``main``, loaded when it is asked for. ``python tests/gpu COMMAND`` is the same where another
package is called ``tests``, too, as happens on machines with many.
"""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "campaign": ("tests.gpu.campaign", "record every workload within ten minutes, and pack it"),
    "run": ("tests.gpu.running", "run one workload, and log what it executes"),
    "calls": ("tests.gpu.calls", "measure what each call of the driver costs, and which there are"),
    "overhead": ("tests.gpu.overhead", "measure what a recorder beside training costs"),
    "compare": ("tests.gpu.compare", "lay interval and estimate beside what was executed"),
}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {does}" for name, (_, does) in COMMANDS.items())
    return "usage: python -m tests.gpu COMMAND [ARGUMENT …]\n\n" + "\n".join(lines) + "\n"


def find_ourselves() -> None:
    """Have ``tests`` mean the folder that this file is in, and the project's packages come first."""
    ours = ModuleType("tests")
    ours.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = ours
    sys.path[0] = str(ROOT)


def main(arguments: list[str]) -> int:
    """Hand the arguments to the command that is named first; return the exit status."""
    if not arguments or arguments[0] not in COMMANDS:
        asked = bool(arguments) and arguments[0] in {"-h", "--help"}
        (sys.stdout if asked else sys.stderr).write(_usage())
        return 0 if asked else 2
    name, *rest = arguments
    module = importlib.import_module(COMMANDS[name][0])
    module.main(args=rest, prog_name=f"python -m tests.gpu {name}")
    return 0


if __name__ == "__main__":
    if not __package__:
        find_ourselves()
    sys.exit(main(sys.argv[1:]))
