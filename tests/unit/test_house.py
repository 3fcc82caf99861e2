"""The rules of the house, held against every file in it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = {"protos", "tlog", "statements", "ledger", "attestor", "verifier", "simulator"}
MAY_IMPORT = {
    "protos": {"protos"},
    "tlog": {"tlog"},
    "statements": {"protos", "tlog", "statements"},
    "ledger": {"protos", "tlog", "statements", "ledger"},
    "attestor": {"protos", "tlog", "statements", "attestor"},
    "verifier": {"protos", "tlog", "statements", "verifier", "policies"},
    "simulator": ROOMS | {"policies"},
}
BASE = {
    "click",
    "cryptography",
    "google",
    "grpc",
    "prometheus_client",
    "pynvml",
    "structlog",
}
OPTIONAL = {"attestor/recording_forms/parquet.py": {"pyarrow"}}
"""Files that only an extra's users load, and what they may import for it."""
LONGEST = 500


def sources(root: Path, room: str) -> list[Path]:
    return [
        path for path in sorted((root / room).rglob("*.py")) if "protos/stillwatch" not in str(path)
    ]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute here"
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_run_one_way(root: Path, room: str) -> None:
    files = sources(root, room)
    assert files
    for path in files:
        wrong = imported(path) & (ROOMS | {"policies", "stillwatch"}) - MAY_IMPORT[room]
        assert not wrong, f"{path.relative_to(root)} imports {sorted(wrong)}"


@pytest.mark.parametrize("room", ["tlog", "statements", "attestor"])
def test_the_agent_needs_only_the_base_install(root: Path, room: str) -> None:
    allowed = BASE | ROOMS | set(sys.stdlib_module_names)
    for path in sources(root, room):
        name = str(path.relative_to(root))
        assert imported(path) <= allowed | OPTIONAL.get(name, set()), name


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_file_is_longer_than_a_room(root: Path, room: str) -> None:
    for path in sources(root, room):
        assert len(path.read_text().splitlines()) <= LONGEST, path.relative_to(root)


def test_no_file_is_a_junk_drawer(root: Path) -> None:
    for room in ROOMS:
        for path in sources(root, room):
            assert path.stem not in {"utils", "util", "helpers", "common", "manager", "misc"}


EDGES = {
    "attestor/guarded_source.py": "the poller's thread runs drivers, other people's code that may raise anything",
    "ledger/processes/forking.py": "a forked process: whatever ends it, it never goes on as a second nursery",
    "verifier/cli.py": "an audit: whatever ends it early, nothing was concluded, and the exit status is 4",
    "verifier/offline/cli.py": "a verification: whatever ends it early, nothing was refuted, and the exit status is 4",
    "stillwatch.py": "the command: an error that carries a reason is one line, any other keeps its trace",
}
"""Files in which one handler may catch everything, and why. A file that no longer needs it leaves this list."""


def broad_handlers(text: str) -> int:
    """Count the handlers, and the suppressions, that catch every error there is."""
    found = 0
    for node in ast.walk(ast.parse(text)):
        caught: list[ast.expr | None] = []
        if isinstance(node, ast.ExceptHandler):
            caught = [*node.type.elts] if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught = [*node.args]
        found += any(
            one is None or ast.unparse(one).split(".")[-1] in {"Exception", "BaseException"}
            for one in caught
        )
    return found


def test_broad_excepts_are_at_process_edges(root: Path) -> None:
    files = [path for room in sorted(ROOMS) for path in sources(root, room)]
    counted = {
        str(path.relative_to(root)): broad_handlers(path.read_text())
        for path in [*files, root / "stillwatch.py"]
    }
    assert {path: count for path, count in counted.items() if count} == dict.fromkeys(EDGES, 1)


@pytest.mark.parametrize(
    "handler",
    [
        "except:",
        "except Exception:",
        "except BaseException as error:",
        "except (OSError, Exception):",
        "except builtins.Exception:",
    ],
)
def test_a_broad_except_is_found_however_it_is_written(handler: str) -> None:
    assert broad_handlers(f"try:\n    pass\n{handler}\n    pass\n") == 1
    assert broad_handlers("with contextlib.suppress(OSError, Exception):\n    pass\n") == 1
    narrow = "except (OSError, http.client.HTTPException):"
    assert broad_handlers(f"try:\n    pass\n{narrow}\n    pass\n") == 0


def test_generated_modules_are_fresh(root: Path) -> None:
    subprocess.run([sys.executable, "-m", "protos.generate", "--check"], cwd=root, check=True)
