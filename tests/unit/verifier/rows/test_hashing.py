"""Rows hash to what SHA-256 says, in each way that is there; what lies outside the buffer is refused."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.rows import hashing, native

Place = tuple[int, int, int]


@st.composite
def placed(draw: st.DrawFn) -> tuple[list[bytes], list[Place]]:
    buffers = draw(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
    places: list[Place] = []
    for _ in range(draw(st.integers(0, 12))):
        which = draw(st.integers(0, len(buffers) - 1))
        start = draw(st.integers(0, len(buffers[which])))
        places.append((which, start, draw(st.integers(0, len(buffers[which]) - start))))
    return buffers, places


def _columns(places: list[Place]) -> tuple[hashing.Int64, hashing.Int64, hashing.Int64]:
    table = np.array(places, dtype=np.int64).reshape(-1, 3).T.copy()
    return table[0], table[1], table[2]


@given(placed(), st.binary(max_size=130))
def test_every_way_of_hashing_gives_what_hashlib_gives(
    rows: tuple[list[bytes], list[Place]], prefix: bytes
) -> None:
    buffers, places = rows
    wanted = b"".join(
        hashlib.sha256(prefix + buffers[which][start : start + length]).digest()
        for which, start, length in places
    )
    assert hashing.hash_rows(buffers, *_columns(places), prefix) == wanted
    for name, way in hashing.BACKENDS.items():
        assert way(buffers, *_columns(places), prefix) == wanted, name


@pytest.mark.parametrize("name", ["hashlib", "libcrypto"])
@pytest.mark.parametrize(
    "place",
    [
        *(
            (0, *span)
            for span in ((0, 5), (5, 0), (-1, 1), (0, -1), (2**62, 2**62), (1, 2**63 - 1))
        ),
        *((which, 0, 0) for which in (-1, 2, 2**62)),
    ],
)
def test_no_way_of_hashing_takes_a_row_outside_its_buffer(name: str, place: Place) -> None:
    if name not in hashing.BACKENDS:
        pytest.skip("the loop in C is not built here")
    way, columns = hashing.BACKENDS[name], _columns([(0, 0, 4), place, (1, 0, 6)])
    with pytest.raises(ValueError, match="buffer"):
        way([b"four", b"longer"], *columns, b"")


def test_columns_of_several_lengths_are_no_rows() -> None:
    which, start, length = _columns([(0, 0, 1), (0, 1, 1)])
    for columns in (
        (which[:1], start, length),
        (which, start[:1], length),
        (which, start, length[:1]),
    ):
        with pytest.raises(ValueError, match="one buffer, start and length"):
            hashing.hash_rows([b"four"], *columns)


def test_what_cannot_be_loaded_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "BUILT", tmp_path / "libnative.so")
    assert native.load() is None
    native.BUILT.write_bytes(b"not a library")
    assert native.load() is None


def test_without_a_compiler_nothing_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "BUILT", tmp_path / "libnative.so")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(FileNotFoundError, match="no C compiler"):
        native.build()
    assert not native.BUILT.exists()


def test_a_compiler_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "BUILT", tmp_path / "libnative.so")
    monkeypatch.setenv("CC", "false")
    with pytest.raises(OSError, match="false -O3"):
        native.build()
    assert not native.BUILT.exists()
    assert subprocess.run(["false"], check=False).returncode
