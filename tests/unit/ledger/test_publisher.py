"""Integrating and signing, on a real journal and real files."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import publisher as module
from ledger.errors import ForkError, JournalError, ObjectError
from ledger.journal.interface import Entry
from ledger.journal.sqlite import SqliteJournal
from ledger.publisher import CHECKPOINT, Publisher
from statements.body_bundle import FOLDER, decode_body_bundle
from tests.unit.ledger.cast import Cast, FailingJournal, FailingStore, entries
from tlog.checkpoint import verify_checkpoint
from tlog.merkle import leaf_hash, subtree_root
from tlog.note import Signer, Verifier
from tlog.tile import aligned_path, bundle_path, bundles_of, decode_bundle, tiles_of


def opened(cast: Cast, journal: SqliteJournal, store: FailingStore) -> Publisher:
    publisher = Publisher(journal, store, cast.signer)
    publisher.open()
    return publisher


def verify_served(store: FailingStore, cast: Cast, everything: list[Entry]) -> None:
    """Refuse files that are not those of a log of these entries."""
    note = store.get(CHECKPOINT)
    assert note is not None
    size = len(everything)
    checkpoint = verify_checkpoint(note, cast.signer.name, Verifier.from_vkey(cast.signer.vkey))
    assert checkpoint.size == size
    assert checkpoint.root == subtree_root([leaf_hash(record) for record, _ in everything])
    levels = [[leaf_hash(record) for record, _ in everything]]
    while len(levels[-1]) >= 256:
        row = levels[-1]
        whole = len(row) - len(row) % 256
        levels.append([subtree_root(row[at : at + 256]) for at in range(0, whole, 256)])
    for tile in tiles_of(size):
        start = tile.index * 256
        assert store.get(tile.path) == b"".join(levels[tile.level][start : start + tile.width])
    for index, width in bundles_of(size):
        span = everything[index * 256 : index * 256 + width]
        bundle = store.get(bundle_path(index, width))
        bodies = store.get(aligned_path(FOLDER, index, width))
        assert bundle is not None
        assert decode_bundle(bundle, width) == [record for record, _ in span]
        assert bodies is not None
        assert decode_body_bundle(bodies, width) == [body for _, body in span]


@pytest.mark.parametrize("steps", [[1], [255, 1], [256], [257, 300, 1], [10, 0, 600, 5000]])
def test_whatever_the_steps_the_files_are_those_of_the_log(
    cast: Cast, journal: FailingJournal, store: FailingStore, steps: list[int]
) -> None:
    publisher = opened(cast, journal, store)
    everything = entries(sum(steps), size=20)
    at = 0
    for step in steps:
        if step:
            journal.append(at, everything[at : at + step])
            at += step
        published = publisher.publish()
        assert published.size == at
        verify_served(store, cast, everything[:at])


def test_an_empty_log_has_a_checkpoint(
    cast: Cast, journal: FailingJournal, store: FailingStore
) -> None:
    opened(cast, journal, store).publish()
    verify_served(store, cast, [])


def test_nothing_new_means_nothing_signed_and_nothing_written(
    cast: Cast, journal: FailingJournal, store: FailingStore
) -> None:
    publisher = opened(cast, journal, store)
    journal.append(0, entries(3))
    first = publisher.publish()
    store.left = 0
    assert publisher.publish() is first


def test_partial_forms_go_once_what_they_are_part_of_is_full(
    cast: Cast, journal: FailingJournal, store: FailingStore, tmp_path: Path
) -> None:
    publisher = opened(cast, journal, store)
    everything = entries(66_000, size=1)
    journal.append(0, everything[:65_300])
    publisher.publish()
    assert (tmp_path / "tile/1/000.p/255").is_file()
    journal.append(65_300, everything[65_300:])
    publisher.publish()
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.p")}
    assert left == {
        "tile/0/257.p",
        "tile/1/001.p",
        "tile/2/000.p",
        "tile/entries/257.p",
        "bodies/257.p",
    }


def test_a_crash_before_any_write_is_repaired_by_publishing_again(
    cast: Cast, tmp_path: Path
) -> None:
    everything = entries(700, size=20)
    writes = 0
    while True:
        place = tmp_path / str(writes)
        place.mkdir()
        journal, store = FailingJournal(place), FailingStore(place)
        publisher = opened(cast, journal, store)
        journal.append(0, everything[:250])
        publisher.publish()
        journal.append(250, everything[250:])
        store.left = writes
        try:
            publisher.publish()
        except ObjectError:
            store.left = None
            again = opened(cast, journal, store)  # as after a crash
            again.publish()
            verify_served(store, cast, everything)
            journal.close()
            writes += 1
            continue
        break
    journal.close()
    assert writes > 8, "each file was once the first that could not be written"


def test_a_storage_that_fails_leaves_the_rest_for_the_next_beat(
    cast: Cast, journal: FailingJournal, store: FailingStore
) -> None:
    everything = entries(600)
    publisher = opened(cast, journal, store)
    journal.append(0, everything)
    for left in range(4):
        store.left = left
        with pytest.raises(ObjectError):
            publisher.publish()
        assert publisher.published is None
    store.left = None
    publisher.publish()
    verify_served(store, cast, everything)


@pytest.mark.parametrize("failure", ["before", "after"])
def test_a_signature_whose_swap_was_not_answered_does_not_stop_the_log(
    cast: Cast, journal: FailingJournal, store: FailingStore, failure: str
) -> None:
    publisher = opened(cast, journal, store)
    everything = entries(5)
    journal.append(0, everything[:2])
    publisher.publish()
    journal.append(2, everything[2:4])
    journal.failures = [failure]
    with pytest.raises(JournalError):
        publisher.publish()
    journal.append(4, everything[4:])
    publisher.publish()
    verify_served(store, cast, everything)


def test_a_checkpoint_is_written_only_after_it_was_remembered(
    cast: Cast, journal: FailingJournal, store: FailingStore
) -> None:
    publisher = opened(cast, journal, store)
    journal.append(0, entries(2))
    journal.failures = ["before"]
    with pytest.raises(JournalError):
        publisher.publish()
    assert store.get(CHECKPOINT) is None


def test_two_publishers_on_one_journal_cannot_both_sign(
    cast: Cast, journal: FailingJournal, store: FailingStore, tmp_path: Path
) -> None:
    journal.append(0, entries(2))
    one = opened(cast, journal, store)
    other = opened(cast, journal, FailingStore(tmp_path / "other"))
    one.publish()
    with pytest.raises(ForkError) as refused:
        other.publish()
    assert refused.value.reason == "SIGNED_ELSEWHERE"
    assert not (tmp_path / "other" / CHECKPOINT).exists()


class TestAfterARestart:
    """What is opened again is compared with what was signed and served."""

    everything = entries(600)

    def journal_of(self, place: Path, records: list[Entry]) -> SqliteJournal:
        place.mkdir()
        journal = SqliteJournal(place)
        if records:
            journal.append(0, records)
        return journal

    @pytest.fixture
    def served(self, cast: Cast, tmp_path: Path) -> FailingStore:
        """A log of 600 records as served; its journal is gone."""
        journal = self.journal_of(tmp_path / "first", self.everything)
        store = FailingStore(tmp_path / "log")
        opened(cast, journal, store).publish()
        journal.close()
        return store

    @pytest.mark.parametrize("held", [0, 1, 256, 599])
    def test_a_journal_that_is_an_older_copy_refuses_to_sign(
        self, cast: Cast, served: FailingStore, tmp_path: Path, held: int
    ) -> None:
        journal = self.journal_of(tmp_path / "old", self.everything[:held])
        with pytest.raises(ForkError, match="Bring the newest journal back") as refused:
            opened(cast, journal, served)
        assert refused.value.reason == "JOURNAL_BEHIND"
        journal.close()

    def test_an_older_copy_that_went_on_otherwise_refuses_to_sign(
        self, cast: Cast, served: FailingStore, tmp_path: Path
    ) -> None:
        other = [*self.everything[:599], *entries(5, seed=99)]
        journal = self.journal_of(tmp_path / "old", other)
        with pytest.raises(ForkError, match="Bring the right journal back") as refused:
            opened(cast, journal, served)
        assert refused.value.reason == "JOURNAL_DIFFERS"
        journal.close()

    def test_a_lost_folder_of_files_is_written_again(
        self, cast: Cast, journal: FailingJournal, store: FailingStore, tmp_path: Path
    ) -> None:
        journal.append(0, self.everything)
        opened(cast, journal, store).publish()
        fresh = FailingStore(tmp_path / "fresh")
        opened(cast, journal, fresh)
        verify_served(fresh, cast, self.everything)

    def test_a_journal_that_knows_of_no_signature_learns_the_one_served(
        self, cast: Cast, served: FailingStore, tmp_path: Path
    ) -> None:
        journal = self.journal_of(tmp_path / "copy", self.everything)
        opened(cast, journal, served)
        assert journal.signed() == served.get(CHECKPOINT)
        journal.append(600, entries(1, seed=3))
        again = opened(cast, journal, served)
        assert again.publish().size == 601
        journal.close()

    def test_what_was_signed_but_not_yet_served_is_served(
        self, cast: Cast, journal: FailingJournal, store: FailingStore
    ) -> None:
        publisher = opened(cast, journal, store)
        journal.append(0, self.everything[:300])
        publisher.publish()
        journal.append(300, self.everything[300:])
        store.at = CHECKPOINT
        with pytest.raises(ObjectError):
            publisher.publish()
        store.at = None
        assert opened(cast, journal, store).published is not None
        verify_served(store, cast, self.everything)

    def test_a_checkpoint_of_another_key_stops_the_ledger(
        self, cast: Cast, served: FailingStore, tmp_path: Path
    ) -> None:
        journal = self.journal_of(tmp_path / "copy", self.everything)
        stranger = Signer(cast.signer.name, Ed25519PrivateKey.generate())
        with pytest.raises(ForkError, match="can be moved away") as refused:
            Publisher(journal, served, stranger).open()
        assert refused.value.reason == "NOT_SIGNED"
        journal.close()

    def test_a_damaged_checkpoint_can_be_moved_away(
        self, cast: Cast, journal: FailingJournal, store: FailingStore, tmp_path: Path
    ) -> None:
        journal.append(0, self.everything)
        opened(cast, journal, store).publish()
        (tmp_path / CHECKPOINT).write_bytes(b"garbage")
        with pytest.raises(ForkError):
            opened(cast, journal, store)
        (tmp_path / CHECKPOINT).unlink()
        opened(cast, journal, store)
        verify_served(store, cast, self.everything)

    def test_a_journal_with_a_hole_is_damage(
        self, cast: Cast, journal: FailingJournal, store: FailingStore
    ) -> None:
        for at in range(3):
            journal.append(at * 300, entries(300, seed=at))
        journal._writer.execute("DELETE FROM groups WHERE first = 300")
        publisher = opened(cast, journal, store)
        with pytest.raises(JournalError) as failed:
            publisher.publish()
        assert failed.value.reason == "JOURNAL_DAMAGED"


def test_large_bodies_are_taken_a_bundle_at_a_time(
    cast: Cast, journal: FailingJournal, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STEP_BYTES", 100_000)
    everything = entries(1100, size=1_000)
    journal.append(0, everything)
    sizes: list[int] = []
    real = Publisher._take

    def take(self: Publisher, start: int, end: int) -> list[Entry]:
        taken = real(self, start, end)
        sizes.append(len(taken))
        return taken

    monkeypatch.setattr(Publisher, "_take", take)
    opened(cast, journal, store).publish()
    assert sizes == [256, 256, 256, 256, 76]
    verify_served(store, cast, everything)
