"""Libraries that list what they do not need."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from statements.errors import BackendError
from statements.verification.shared_object import load_library, read_installed, strike

SOURCE = "int five(void) { return 5; }\n"
USER = "int six(void); int twelve(void) { return 2 * six(); }\n"


def build(folder: Path, name: str, text: str, *needs: Path) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    source, made = folder / f"{name}.c", folder / f"lib{name}.so"
    source.write_text(text)
    own = ["-shared", "-fPIC", f"-Wl,-soname,lib{name}.so", "-Wl,--no-as-needed"]
    subprocess.run(["cc", *own, "-o", str(made), str(source), *map(str, needs)], check=True)
    return made


@pytest.fixture
def absent(tmp_path: Path) -> Path:
    return build(tmp_path, "absent", "int six(void) { return 6; }\n")


LISTED = frozenset({"libabsent.so"})


def test_a_library_is_loaded_without_what_it_lists_and_does_not_use(
    tmp_path: Path, absent: Path
) -> None:
    data = build(tmp_path, "idle", SOURCE, absent).read_bytes()
    with pytest.raises(BackendError, match=r"libabsent\.so"):
        load_library(data, "idle")
    assert load_library(data, "idle", LISTED).five() == 5


def test_a_library_that_uses_what_was_struck_is_not_loaded(tmp_path: Path, absent: Path) -> None:
    data = build(tmp_path, "busy", USER, absent).read_bytes()
    with pytest.raises(BackendError, match="six"):
        load_library(data, "busy", LISTED)


def test_libraries_of_one_name_are_told_apart(tmp_path: Path, absent: Path) -> None:
    one = load_library(build(tmp_path, "idle", SOURCE).read_bytes(), "same")
    assert one.five() == 5
    assert load_library(absent.read_bytes(), "same").six() == 6


def test_nothing_else_of_a_library_is_changed(tmp_path: Path, absent: Path) -> None:
    data = build(tmp_path, "idle", SOURCE, absent).read_bytes()
    struck = strike(data, LISTED)
    changed = [at for at, (one, other) in enumerate(zip(data, struck, strict=True)) if one != other]
    assert changed
    assert max(changed) - min(changed) < 16
    assert strike(data, frozenset({"libother.so"})) == data


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", bytes(4096), b"\x7fELF\x02\x01" + b"\xff" * 4096]
)
def test_bytes_that_are_no_library_are_refused(data: bytes) -> None:
    with pytest.raises(BackendError) as refused:
        load_library(data, "noise")
    assert refused.value.reason == "NOT_LOADED"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel named ``stuff``, installed, with one file."""
    about = tmp_path / "stuff-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stuff\nVersion: 1.0\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"as it was").digest()).rstrip(b"=").decode()
    (about / "RECORD").write_text(f"lib/libstuff.so,sha256={digest},9\nlib/libbare.so,,\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libstuff.so").write_bytes(b"as it was")
    (tmp_path / "lib/libbare.so").write_bytes(b"as it was")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "lib/libstuff.so"


def refused(wheel: str, name: str) -> str:
    with pytest.raises(BackendError) as caught:
        read_installed(wheel, name)
    return caught.value.reason


def test_a_library_is_read_as_its_wheel_recorded_it(wheel: Path) -> None:
    assert read_installed("stuff", "libstuff.so") == b"as it was"
    wheel.write_bytes(b"as it is.")
    assert refused("stuff", "libstuff.so") == "DAMAGED"
    assert refused("stuff", "libbare.so") == "DAMAGED"
    wheel.unlink()
    assert refused("stuff", "libstuff.so") == "NOT_INSTALLED"


def test_what_is_not_installed_is_said_to_be_so(wheel: Path) -> None:
    assert refused("stuff", "libother.so") == "NOT_INSTALLED"
    assert refused("no-such-wheel", "libstuff.so") == "NOT_INSTALLED"
