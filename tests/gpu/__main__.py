"""``python -m tests.gpu COMMAND``: recordings of real chips, beside counts of what was executed.

Each command is a module's ``main``, loaded when it is asked for.
"""

import importlib
import sys
from collections.abc import Mapping
from typing import Final

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("tests.gpu.running", "run one workload, and log what it executes"),
    "compare": ("tests.gpu.compare", "lay interval and estimate beside what was executed"),
}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {does}" for name, (_, does) in COMMANDS.items())
    return "usage: python -m tests.gpu COMMAND [ARGUMENT …]\n\n" + "\n".join(lines) + "\n"


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
    sys.exit(main(sys.argv[1:]))
