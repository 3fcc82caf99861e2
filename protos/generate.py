"""Generate the modules of ``protos/stillwatch`` from their definitions.

``python -m protos.generate`` writes them, ``python -m protos.generate --check`` exits 1 when what is checked in
differs from what would be written.

protoc writes imports from the root of its own tree (``from stillwatch.statement.v1 import …``), where
``stillwatch.py`` would shadow them; the generator rewrites those lines to ``protos.stillwatch.…``.
"""

import argparse
import importlib.resources
import re
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
_PLUGINS = Path(sys.executable).parent
_OWN_IMPORT = re.compile(r"^(from|import) stillwatch\.", re.MULTILINE)


def _definitions() -> list[Path]:
    return sorted((ROOT / "stillwatch").rglob("*.proto"))


def _rewrite(text: str) -> str:
    return _OWN_IMPORT.sub(r"\1 protos.stillwatch.", text)


def generate() -> dict[Path, str]:
    """Return the text of every generated module by its path below ``protos/``.

    Raises ``RuntimeError`` when protoc refuses a definition.
    """
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        status = protoc.main(
            [
                "protoc",
                f"--plugin=protoc-gen-mypy={_PLUGINS / 'protoc-gen-mypy'}",
                f"--plugin=protoc-gen-mypy_grpc={_PLUGINS / 'protoc-gen-mypy_grpc'}",
                f"--proto_path={ROOT}",
                f"--proto_path={well_known}",
                f"--python_out={scratch}",
                f"--grpc_python_out={scratch}",
                f"--mypy_out=quiet:{scratch}",
                f"--mypy_grpc_out=quiet:{scratch}",
                *(str(path) for path in _definitions()),
            ]
        )
        if status != 0:
            message = f"protoc exited with {status}; its message is above"
            raise RuntimeError(message)
        made = {
            path.relative_to(scratch): _rewrite(path.read_text())
            for path in sorted(Path(scratch).rglob("*.py*"))
            if not _is_empty_service(path)
        }
    for folder in {path.parent for path in made}:
        for ancestor in (folder, *folder.parents):
            if ancestor != Path():
                made.setdefault(ancestor / "__init__.py", "")
    return made


def _is_empty_service(path: Path) -> bool:
    """Whether protoc made a service module for a definition without services."""
    return "_pb2_grpc" in path.name and "LedgerService" not in path.read_text()


def _stale(made: dict[Path, str]) -> list[str]:
    present = {
        path.relative_to(ROOT)
        for path in (ROOT / "stillwatch").rglob("*.py*")
        if path.suffix in {".py", ".pyi"}
    }
    extra = [f"{path}: no definition makes it" for path in sorted(present - made.keys())]
    differing = [
        f"{path}: differs from its definition"
        for path, text in sorted(made.items())
        if path not in present or (ROOT / path).read_text() != text
    ]
    return extra + differing


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated modules; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m protos.generate")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when stale")
    options = parser.parse_args(arguments)
    made = generate()
    if options.check:
        stale = _stale(made)
        for line in stale:
            print(line, file=sys.stderr)  # noqa: T201 - this is a command
        return 1 if stale else 0
    for path, text in made.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
