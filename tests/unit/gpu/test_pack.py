"""Recordings into few archives."""

import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gpu.pack import MOST_FILES, PackError, pack, share_out


@given(st.lists(st.integers(0, 300_000), max_size=40), st.integers(1, 8))
def test_every_file_is_in_one_archive_or_said_to_be_left_out_and_none_is_too_large(
    sizes: list[int], most_files: int
) -> None:
    by_name = {f"f{place}": size for place, size in enumerate(sizes)}
    parts, left_out = share_out(by_name, most_files=most_files, most_bytes=400_000)
    assert sorted([name for part in parts for name in part] + list(left_out)) == sorted(by_name)
    assert len(parts) <= most_files
    for part in parts:
        assert sum(by_name[name] + 1024 for name in part) <= 400_000
        assert part


def test_an_archive_holds_the_bytes_under_their_names_and_no_more_than_it_may(
    tmp_path: Path,
) -> None:
    files = []
    for number in range(5):
        file = tmp_path / f"{number}.bin"
        file.write_bytes(bytes([number]) * 5_000_000)
        files.append(file)
    out = tmp_path / "out"
    out.mkdir()
    archives, left_out = pack(files, out, "recordings")
    assert [path.name for path in archives] == ["recordings-1.tar", "recordings-2.tar"]
    assert not left_out
    found = {}
    for path in archives:
        assert path.stat().st_size <= 16 << 20
        with tarfile.open(path) as archive:
            for member in archive:
                data = archive.extractfile(member)
                assert data is not None
                found[member.name] = data.read()
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
    assert found == {file.name: file.read_bytes() for file in files}
    assert sorted(path.name for path in out.iterdir()) == [path.name for path in archives]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes((16 << 20) + 1))
    assert pack([large], tmp_path, "x") == ((), ("large.bin",))


def test_one_file_is_left_for_the_results() -> None:
    parts, left_out = share_out({str(n): (16 << 20) - 40_000 for n in range(9)})
    assert (len(parts), len(left_out)) == (MOST_FILES - 1, 2)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "x", tmp_path / "a" / "x"):
        path.write_text("x")
    with pytest.raises(PackError):
        pack([tmp_path / "x", tmp_path / "a" / "x"], tmp_path, "y")
