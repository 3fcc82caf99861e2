"""``python -m tests.gpu``."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import tests.gpu.__main__ as commands


def test_each_command_is_listed_and_loaded_when_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert commands.main([]) == 2
    usage = capsys.readouterr().err
    assert all(name in usage for name in commands.COMMANDS)
    assert commands.main(["--help"]) == 0
    assert commands.main(["nothing"]) == 2
    for name in commands.COMMANDS:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            commands.main([name, "--help"])
        assert ended.value.code == 0
        assert f"python -m tests.gpu {name}" in capsys.readouterr().out


def test_every_command_shown_parses(root: Path) -> None:
    shown = []
    for page in [*sorted((root / "docs").rglob("*.md")), *sorted((root / "tests").rglob("*.md"))]:
        shown += re.findall(r"python (?:-m tests\.gpu|tests/gpu) +([^`#\n]+)", page.read_text())
    assert shown
    for line in shown:
        name, *words = shlex.split(line)
        module = importlib.import_module(commands.COMMANDS[name][0])
        options = {option for parameter in module.main.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_it_is_found_where_somebody_elses_package_is_called_tests(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    words = [sys.executable, str(root / "tests" / "gpu"), "run", "--help"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "--flop-log" in done.stdout) == (0, True), done.stderr
