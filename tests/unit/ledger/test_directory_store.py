"""The object store in a folder, on a real disk."""

import os
from pathlib import Path

import pytest

from ledger.errors import ObjectError, SetupError
from ledger.objects.directory import DirectoryStore
from ledger.objects.registry import open_store


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "log")


def test_what_was_put_is_there_and_nothing_beside_it(store: DirectoryStore, tmp_path: Path) -> None:
    store.put({"checkpoint": b"one", "tile/0/x001/234.p/7": b"two"})
    assert store.get("checkpoint") == b"one"
    assert store.get("tile/0/x001/234.p/7") == b"two"
    files = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {Path("log/checkpoint"), Path("log/tile/0/x001/234.p/7")}


def test_a_file_may_be_replaced_while_it_is_read(store: DirectoryStore) -> None:
    store.put({"checkpoint": b"old"})
    file = store.open("checkpoint")
    assert file is not None
    with file:
        store.put({"checkpoint": b"a newer one"})
        assert file.read() == b"old", "whoever reads sees the whole old file"
    assert store.get("checkpoint") == b"a newer one"


@pytest.mark.parametrize("path", ["nothing", "tile", "checkpoint/below"])
def test_what_is_not_a_file_is_not_there(store: DirectoryStore, path: str) -> None:
    store.put({"checkpoint": b"x", "tile/0/000": b"y"})
    assert store.get(path) is None
    assert store.open(path) is None


def test_discarded_folders_are_gone_and_can_come_again(store: DirectoryStore) -> None:
    store.put({"tile/0/000.p/1": b"x"})
    store.discard(["tile/0/000.p", "tile/0/999.p"])
    assert store.get("tile/0/000.p/1") is None
    store.put({"tile/0/000.p/2": b"y"})
    assert store.get("tile/0/000.p/2") == b"y"


def test_each_file_and_each_new_folder_is_synced_before_put_returns(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store.put({"tile/0/000": b"x"})
    assert synced[0] == "log/tile/0/000.part"
    assert set(synced[1:]) == {"log", "log/tile", "log/tile/0"}
    synced.clear()
    store.put({"tile/0/001": b"x"})
    assert synced == ["log/tile/0/001.part", "log/tile/0"]


def test_folders_are_synced_later_when_a_first_put_failed(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log/tile/0/000").mkdir(parents=True)
    (tmp_path / "log/tile/0/000/occupied").touch()
    with pytest.raises(ObjectError):
        store.put({"tile/0/000": b"x"})
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
    )
    store.put({"tile/0/001": b"x"})
    assert str(tmp_path / "log/tile") in synced


def test_a_place_that_cannot_be_written_is_told_and_leaves_no_part(
    store: DirectoryStore, tmp_path: Path
) -> None:
    (tmp_path / "log").write_bytes(b"a file where a folder should be")
    with pytest.raises(ObjectError, match=r"cannot write .*: .*; free space or repair") as failed:
        store.put({"tile/0/000": b"x"})
    assert failed.value.reason == "STORAGE"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_name_that_no_disk_takes_is_an_error_and_not_an_absence(store: DirectoryStore) -> None:
    with pytest.raises(ObjectError, match="cannot read"):
        store.get("x" * 5000)


def test_a_disk_that_fails_to_read_is_told() -> None:
    memory = DirectoryStore(Path("/proc/self"))
    with pytest.raises(ObjectError, match="cannot read /proc/self/mem"):
        memory.get("mem")  # reading the first page of one's own memory fails as a bad disk does


def test_a_store_is_found_by_its_name(tmp_path: Path) -> None:
    assert isinstance(open_store("directory", tmp_path), DirectoryStore)
    with pytest.raises(SetupError, match="there are directory") as refused:
        open_store("s3", tmp_path)
    assert refused.value.reason == "UNKNOWN_STORE"
