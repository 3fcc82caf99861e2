"""Documentation fails the tests when it is stale."""

import re
import shlex
from pathlib import Path

import click
import pytest

import stillwatch

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^\s*(?:\$ )?stillwatch +(.+)$", re.MULTILINE)
WORKPLACE = re.compile(
    r"DESIGN\.md|FACTS\.md|STYLE\.md|\.\./shared|/work/|\bsession \d|\bissue #?\d", re.IGNORECASE
)


def pages(root: Path) -> list[Path]:
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def test_every_link_between_pages_leads_somewhere(root: Path) -> None:
    for page in pages(root):
        for target in LINK.findall(page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(root)}: {target}"


def test_every_make_target_named_exists(root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    for page in pages(root):
        for named in re.findall(r"`make ([a-z]+)`", page.read_text()):
            assert named in targets, f"{page.relative_to(root)}: make {named}"


def commands(root: Path) -> list[tuple[str, str]]:
    found = []
    for page in pages(root):
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
            joined = re.sub(r"\\\n\s*", " ", block)
            found += [(str(page.relative_to(root)), line) for line in COMMAND.findall(joined)]
    return found


def test_every_command_shown_parses(root: Path) -> None:
    shown = commands(root)
    assert shown
    for page, line in shown:
        words = shlex.split(line, comments=True)
        command: click.Command = stillwatch.main
        options: dict[str, click.Option] = {}
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, f"{page}: stillwatch {line}"
            command = found
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                options |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], parameter)
        for word in words:
            if re.fullmatch(r"--?[a-z][a-z-]*", word) and word not in {"-h", "--help", "--version"}:
                assert word in options, f"{page}: stillwatch {line}: no option {word}"


@pytest.mark.parametrize("pattern", ["*.md", "*.py", "*.toml", "*.proto", "Makefile"])
def test_the_project_speaks_of_itself_alone(root: Path, pattern: str) -> None:
    skipped = {".venv", "build", ".git", "dist"}
    for path in sorted(root.rglob(pattern)):
        if skipped & set(path.relative_to(root).parts) or path.name == "test_docs.py":
            continue
        found = WORKPLACE.search(path.read_text())
        assert found is None, f"{path.relative_to(root)}: {found and found[0]}"
