"""The rules of the house, held against every file in it."""

import ast
import re
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
        assert imported(path) <= allowed, path.relative_to(root)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_file_is_longer_than_a_room(root: Path, room: str) -> None:
    for path in sources(root, room):
        assert len(path.read_text().splitlines()) <= LONGEST, path.relative_to(root)


def test_no_file_is_a_junk_drawer(root: Path) -> None:
    for room in ROOMS:
        for path in sources(root, room):
            assert path.stem not in {"utils", "util", "helpers", "common", "manager", "misc"}


def test_broad_excepts_are_at_process_edges(root: Path) -> None:
    found = set()
    for room in ROOMS:
        for path in sources(root, room):
            if re.search(r"except (Exception|BaseException)\b|except:", path.read_text()):
                found.add(str(path.relative_to(root)))
    assert found <= EDGES


EDGES: set[str] = set()
"""Files that are a process's edge and may catch everything, each with the reason in a comment there."""


def test_generated_modules_are_fresh(root: Path) -> None:
    subprocess.run([sys.executable, "-m", "protos.generate", "--check"], cwd=root, check=True)
