"""What fsck finds in a served folder: every flipped bit, everything cut or missing, every record that was not to be."""

import dataclasses
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ledger import fsck as module
from ledger.errors import ObjectError
from ledger.examination import Examination
from ledger.folder import LedgerFolder
from ledger.founding import found
from ledger.fsck import examine
from ledger.journal.interface import Entry, Leaf
from ledger.journal.sqlite import SqliteJournal
from ledger.objects.directory import DirectoryStore
from ledger.publisher import Publisher
from ledger.sequencer import Sequencer
from ledger.ticks import Ticker
from statements.author import Statement
from statements.header import decode_header, encode_header
from statements.record import Record, decode_record, encode_record
from statements.signing import ORDER, statement_id
from tests.unit.ledger.cast import ORIGIN, T0, Cast, FailingStore, Hours, Person, screened
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.merkle import EMPTY_ROOT

FLIPS = 300


class _Entries:
    """A journal of whatever entries."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.note: bytes | None = None

    def size(self) -> int:
        return len(self.entries)

    def append(self, first: int, entries: Sequence[Entry]) -> None:
        raise NotImplementedError

    def read(self, start: int, end: int) -> Iterator[Entry]:
        return iter(self.entries[start:end])

    def leaves(self, start: int, end: int) -> Iterator[Leaf]:
        return iter([(record, body is not None) for record, body in self.entries[start:end]])

    def signed(self) -> bytes | None:
        return self.note

    def sign(self, expected: bytes | None, note: bytes) -> None:
        self.note = note

    def close(self) -> None:
        """There is nothing to let go of."""


@dataclasses.dataclass
class Log:
    """A log of a party, its nodes and ticks, published in steps; ``served`` is what is served of it."""

    cast: Cast
    served: Path
    entries: list[Entry]
    people: list[Person]


def make(place: Path, steps: tuple[int, ...]) -> Log:
    """Publish a log in steps of so many summaries."""
    folder = LedgerFolder.create(place / "log", ORIGIN)
    cast = Cast(signer=folder.signer, ledger_key=folder.key)
    hours = Hours()
    journal = SqliteJournal(folder.private)
    found(folder, journal, cast.text, hours, cast.draw.randbytes)
    sequencer = Sequencer.open(journal, cast.keyring(), hours)
    publisher = Publisher(journal, DirectoryStore(folder.path), folder.signer)
    publisher.open()
    ticker = Ticker(
        sequencer, hours, key=folder.key, origin=ORIGIN, every_ms=60_000, draw=cast.draw.randbytes
    )
    enrolments, people = cast.enrolled(3)
    said = [(cast.party, one) for one in enrolments] + [(node, node.open()) for node in people]
    for number, step in enumerate(steps):
        for at in range(step):
            node = people[at % 3]
            one = node.summary(size=30)
            said.append((node, Statement(one.header, one.signature, b"") if at % 7 == 0 else one))
        sequencer.log([[screened(one) for person, one in said]])
        said = []
        ticker.tick(publisher.publish())
        hours.ms += 60_000 * (number + 1)
    publisher.publish()
    everything = list(journal.read(0, journal.size()))
    journal.close()
    shutil.rmtree(folder.private)
    return Log(cast, folder.path, everything, people)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A log of about 280 records with full and partial files, older partial ones among them."""
    return make(tmp_path_factory.mktemp("made"), (90, 150, 20, 5))


@pytest.fixture
def served(log: Log, tmp_path: Path) -> Path:
    """A copy of what the log serves, to be damaged."""
    return Path(shutil.copytree(log.served, tmp_path / "copy"))


def check(folder: Path, vkey: str | None = None) -> Examination:
    return examine(DirectoryStore(folder), folder, vkey)


def places(folder: Path) -> set[str]:
    return {flaw.place for flaw in check(folder).flaws}


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_log_as_it_is_served_is_clean(log: Log) -> None:
    found = check(log.served)
    assert found.flaws == []
    assert (found.origin, found.size) == (ORIGIN, len(log.entries))
    assert found.held == sum(1 for _, body in log.entries if body is not None)
    kinds = {path.partition("/")[0] for path in files(log.served)}
    assert kinds == {"checkpoint", "tile", "bodies"}
    assert any(".p/" in path for path in files(log.served))


def test_of_random_flips_of_one_bit_each_is_found_and_its_file_named(served: Path) -> None:
    draw = random.Random(20_260_601)
    everything = [served / path for path in files(served)]
    by_kind: dict[str, list[Path]] = {}
    for path in everything:
        kind = "/".join(path.relative_to(served).parts[:2])
        by_kind.setdefault(kind, []).append(path)
    assert set(by_kind) == {
        "checkpoint",
        "tile/0",
        "tile/1",
        "tile/entries",
        *(f"bodies/{path.name}" for path in (served / "bodies").iterdir()),
    }
    missed: list[str] = []
    for number in range(FLIPS):
        kind = sorted(by_kind)[number % len(by_kind)]
        path = draw.choice(by_kind[kind])
        data = path.read_bytes()
        bit = draw.randrange(len(data) * 8)
        path.write_bytes(flipped(data, bit))
        name = path.relative_to(served).as_posix()
        if name not in places(served):
            missed.append(f"{name} bit {bit}")
        path.write_bytes(data)
    assert missed == []
    assert check(served).flaws == []


def test_every_bit_of_a_checkpoint_counts(tmp_path: Path) -> None:
    made = make(tmp_path, (1,))
    path = made.served / "checkpoint"
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        path.write_bytes(flipped(data, bit))
        assert "checkpoint" in places(made.served), bit


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_missing_file_that_is_needed_is_named(log: Log, served: Path) -> None:
    size = len(log.entries)
    bundles = {f"{index:03d}" for index in range(size // 256)} | {
        f"{size // 256:03d}.p/{size % 256}"
    }
    needed = {
        f"{folder}/{name}" for folder in ("tile/0", "tile/entries", "bodies") for name in bundles
    }
    needed |= {f"tile/1/000.p/{size // 256}", "checkpoint"}
    for path in sorted(needed):
        kept = (served / path).read_bytes()
        (served / path).unlink()
        assert path in places(served)
        (served / path).write_bytes(kept)


def test_every_file_that_was_cut_is_named(served: Path) -> None:
    draw = random.Random(5)
    for path in files(served):
        whole = (served / path).read_bytes()
        for length in {0, draw.randrange(len(whole)), len(whole) - 1}:
            (served / path).write_bytes(whole[:length])
            assert path in places(served), (path, length)
        (served / path).write_bytes(whole + whole[-1:])
        assert path in places(served), f"{path} grew"
        (served / path).write_bytes(whole)


def test_two_files_that_changed_places_are_named(served: Path) -> None:
    one, other = served / "tile/0/000", served / "tile/entries/000"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert {"tile/0/000", "tile/entries/000"} <= places(served)


def test_a_wrong_entry_is_told_from_a_wrong_tile(log: Log, served: Path) -> None:
    """A record whose hint of time was changed: its signature and chain are still good."""
    path = served / "tile/entries/000"
    data = path.read_bytes()
    record = decode_record(data[2 + 5 * 382 : 382 + 5 * 382])
    changed = encode_record(record._replace(logged_at_ms=record.logged_at_ms + 1))
    path.write_bytes(data[: 2 + 5 * 382] + changed + data[382 + 5 * 382 :])
    (flaw,) = [flaw for flaw in check(served).flaws if flaw.reason != "FORMS_DIFFER"]
    assert (flaw.place, flaw.reason) == ("tile/entries/000", "WRONG_ENTRIES")
    assert "other entries than 5 here" in flaw.message


def test_a_full_form_serves_where_a_partial_one_is_gone(log: Log, served: Path) -> None:
    """As where the checkpoint is older than the files: the partial forms that it names became full, and went."""
    older = Publisher(_Entries(log.entries[:200]), DirectoryStore(served), log.cast.signer)
    note = older.publish().note
    for folder in ("tile/0", "tile/entries", "bodies"):
        shutil.rmtree(served / folder / "000.p")
    (served / "checkpoint").write_bytes(note)
    found = check(served)
    assert (found.flaws, found.size) == ([], 200)


def test_a_folder_without_a_checkpoint_or_with_none_that_parses_is_told(served: Path) -> None:
    (served / "checkpoint").write_bytes(b"not a note")
    (flaw,) = check(served).flaws
    assert (flaw.place, flaw.reason) == ("checkpoint", "BAD_NOTE")
    (served / "checkpoint").unlink()
    (flaw,) = check(served).flaws
    assert flaw.reason == "NO_CHECKPOINT"


def test_the_key_may_be_given_and_must_then_have_signed(log: Log, served: Path) -> None:
    assert check(served, log.cast.signer.vkey).flaws == []
    (flaw,) = check(served, Cast().signer.vkey).flaws
    assert (flaw.place, flaw.reason) == ("checkpoint", "NOT_SIGNED")
    (flaw,) = check(served, "no key").flaws
    assert flaw.reason == "BAD_VKEY"


@pytest.mark.parametrize("size", [10**6, 10**18])
def test_a_checkpoint_that_claims_any_size_does_not_keep_anybody_waiting(
    log: Log, served: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_MISSING", 20)
    claimed = Checkpoint(ORIGIN, size, bytes(32))
    (served / "checkpoint").write_bytes(sign_checkpoint(claimed, log.cast.signer))
    flaws = check(served).flaws
    assert flaws[-1].reason == "MISSING_FILE"
    assert len(flaws) < 200


def test_an_empty_log_has_no_agreement(log: Log, tmp_path: Path) -> None:
    DirectoryStore(tmp_path).put(
        {"checkpoint": sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), log.cast.signer)}
    )
    (flaw,) = check(tmp_path).flaws
    assert flaw.reason == "MALFORMED_BODY"
    assert "does not begin with an agreement" in flaw.message


def test_files_of_other_names_are_none_of_the_logs(served: Path) -> None:
    for name in ("tile/0/000.part", "tile/note", "bodies/README", "tile/0/000.p/300", "index.html"):
        (served / name).parent.mkdir(exist_ok=True, parents=True)
        (served / name).write_bytes(b"?")
    assert check(served).flaws == []


def test_what_is_newer_than_the_checkpoint_is_no_flaw_but_what_contradicts_it_is(
    log: Log, served: Path
) -> None:
    """Files come before the checkpoint that covers them."""
    size = len(log.entries)
    store = FailingStore(served)
    more = Publisher(_Entries([*log.entries, *log.entries[:40]]), store, log.cast.signer)
    more.open()
    store.at = "checkpoint"
    with pytest.raises(ObjectError):
        more.publish()
    assert check(served).flaws == []
    newer = served / f"bodies/{size // 256:03d}.p/{size % 256 + 40}"
    newer.write_bytes(flipped(newer.read_bytes(), 80))
    assert newer.relative_to(served).as_posix() in places(served)


class TestRecords:
    """A ledger that signs what it should not have admitted."""

    def publish(self, log: Log, place: Path, entries: list[Entry]) -> Examination:
        store = DirectoryStore(place)
        publisher = Publisher(_Entries(entries), store, log.cast.signer)
        publisher.open()
        publisher.publish()
        return check(place)

    def reasons(self, log: Log, place: Path, change: Callable[[list[Entry]], None]) -> list[str]:
        entries = log.entries[:60]
        change(entries)
        found = self.publish(log, place, entries)
        width = found.size
        assert {flaw.place for flaw in found.flaws} <= {
            f"tile/entries/000.p/{width}",
            f"bodies/000.p/{width}",
        }
        return [flaw.reason for flaw in found.flaws]

    def test_the_same_records_as_they_were_are_clean(self, log: Log, tmp_path: Path) -> None:
        assert self.reasons(log, tmp_path, lambda entries: None) == []

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda e: e.append(e[30]), "FORK"),
            (lambda e: e.pop(30), "GAP"),
            (lambda e: e.pop(1), "NOT_AN_OPENING"),
            (lambda e: e.__delitem__(slice(3, 6)), "UNKNOWN_KEY"),
            (lambda e: e.__setitem__(4, (e[4][0], None)), "BODY_MISSING"),
            (lambda e: e.__setitem__(4, (e[4][0], b"x")), "BODY_MISMATCH"),
            (lambda e: e.__setitem__(20, (bytes(380), None)), "MALFORMED_RECORD"),
            (lambda e: e.__setitem__(20, (e[20][0][:-1], None)), "MALFORMED_RECORD"),
            (
                lambda e: e.__setitem__(20, (resigned(e[20][0], bytes(64)), e[20][1])),
                "MALFORMED_SIGNATURE",
            ),
            (lambda e: e.__setitem__(20, (malleated(e[20][0]), e[20][1])), "HIGH_S"),
            (
                lambda e: e.__setitem__(20, (resigned(e[20][0], signature_of(e[21][0])), e[20][1])),
                "BAD_SIGNATURE",
            ),
        ],
        ids=[
            "twice",
            "a gap",
            "no opening of the ledger",
            "nodes nobody enrolled",
            "no body of an enrolment",
            "another body",
            "no record",
            "a cut record",
            "no signature",
            "the other half of a signature",
            "another statement's signature",
        ],
    )
    def test_a_record_that_was_not_to_be_logged_is_found(
        self, log: Log, tmp_path: Path, change: Callable[[list[Entry]], None], reason: str
    ) -> None:
        assert reason in self.reasons(log, tmp_path, change)

    def test_what_follows_a_wrong_record_is_not_blamed_for_it(
        self, log: Log, tmp_path: Path
    ) -> None:
        def change(entries: list[Entry]) -> None:
            entries[20] = resigned(entries[20][0], bytes(64)), entries[20][1]

        assert self.reasons(log, tmp_path, change) == ["MALFORMED_SIGNATURE"]

    def test_an_opening_of_the_ledger_after_another_statement_than_leaf_0_is_found(
        self, log: Log, tmp_path: Path
    ) -> None:
        def change(entries: list[Entry]) -> None:
            record = decode_record(entries[1][0])
            header = encode_header(decode_header(record.header)._replace(previous=b"\7" * 32))
            signature = log.cast.ledger_key.sign(statement_id(header))
            entries[1] = encode_record(Record(header, signature, T0)), entries[1][1]

        assert self.reasons(log, tmp_path, change)[0] == "NOT_AN_OPENING"

    def test_a_log_that_begins_with_something_else_is_found(self, log: Log, tmp_path: Path) -> None:
        found = self.publish(log, tmp_path, log.entries[5:60])
        assert found.flaws
        assert found.flaws[0].place == "bodies/000.p/55"


def signature_of(record: bytes) -> bytes:
    return decode_record(record).signature


def resigned(record: bytes, signature: bytes) -> bytes:
    return encode_record(decode_record(record)._replace(signature=signature))


def malleated(record: bytes) -> bytes:
    signature = signature_of(record)
    s = ORDER - int.from_bytes(signature[32:], "big")
    return resigned(record, signature[:32] + s.to_bytes(32, "big"))
