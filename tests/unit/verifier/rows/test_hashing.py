"""Rows hash to what SHA-256 says, in each way that is there; what lies outside the buffer is refused."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.rows import hashing, native


@st.composite
def placed(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    data = draw(st.binary(max_size=400))
    places = st.integers(0, len(data)).flatmap(
        lambda start: st.tuples(st.just(start), st.integers(0, len(data) - start))
    )
    return data, draw(st.lists(places, max_size=12))


def _columns(places: list[tuple[int, int]]) -> tuple[hashing.Int64, hashing.Int64]:
    table = np.array(places, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(placed(), st.binary(max_size=130))
def test_every_way_of_hashing_gives_what_hashlib_gives(
    rows: tuple[bytes, list[tuple[int, int]]], prefix: bytes
) -> None:
    data, places = rows
    wanted = [
        hashlib.sha256(prefix + data[start : start + length]).digest() for start, length in places
    ]
    assert hashing.hash_rows(data, *_columns(places), prefix) == b"".join(wanted)
    start, length = (np.ascontiguousarray(column) for column in _columns(places))
    for name, way in hashing.BACKENDS.items():
        assert way(data, start, length, prefix) == b"".join(wanted), name


@pytest.mark.parametrize(
    "place", [(0, 5), (5, 0), (-1, 1), (0, -1), (2**62, 2**62), (4, 1), (1, 2**63 - 1)]
)
def test_a_row_outside_the_buffer_is_refused(place: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie in the buffer"):
        hashing.hash_rows(b"four", *_columns([(0, 4), place]))


@pytest.mark.skipif("libcrypto" not in hashing.BACKENDS, reason="the loop in C is not built here")
def test_the_loop_in_c_refuses_such_a_row_by_itself() -> None:
    for place in [(0, 5), (5, 0), (-1, 1), (0, -1), (2**62, 2**62), (1, 2**63 - 1)]:
        start, length = (np.ascontiguousarray(column) for column in _columns([place]))
        with pytest.raises(ValueError, match="cannot be hashed"):
            hashing.BACKENDS["libcrypto"](b"four", start, length, b"")


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
    with pytest.raises(OSError, match="false -O2"):
        native.build()
    assert not native.BUILT.exists()
    assert subprocess.run(["false"], check=False).returncode
