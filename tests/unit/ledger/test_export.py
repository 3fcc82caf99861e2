"""What is exported of a log: what was chosen, what shows whose it is, the same bytes each time, and nothing false."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.errors import ExportError
from ledger.export import export
from ledger.folder import LedgerFolder
from ledger.founding import found
from ledger.journal.sqlite import SqliteJournal
from ledger.objects.directory import DirectoryStore
from ledger.publisher import Publisher
from ledger.sequencer import Sequencer
from statements.author import Statement
from statements.body import verify_stored
from statements.header import decode_header
from statements.offline_bundle import Everything, RangeOf, SaidBy, decode_offline_bundle
from statements.pins import LedgerPin
from statements.record import decode_record
from stillwatch import main
from tests.unit.ledger.cast import Cast, Hours, Person, screened
from tlog.errors import ProofError
from tlog.note import Verifier
from tlog.proof import parse_proof, verify_proof

NODES = 2
EACH = 150


@dataclass
class Log:
    """A log of two nodes, and where it is served; records 2 to 4 are the party's, 5 and 6 the nodes' openings."""

    cast: Cast
    nodes: list[Person]
    folder: Path

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.folder)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    place = tmp_path_factory.mktemp("log")
    folder = LedgerFolder.create(place / "log", "rehearsal.example/ledger")
    cast = Cast(signer=folder.signer, ledger_key=folder.key)
    journal = SqliteJournal(folder.private)
    found(folder, journal, cast.text, Hours(), cast.draw.randbytes)
    sequencer = Sequencer.open(journal, cast.keyring(), Hours())
    enrolments, nodes = cast.enrolled(NODES)
    said = [(cast.party, one) for one in enrolments] + [(node, node.open()) for node in nodes]
    for at in range(EACH):
        for node in nodes:
            one = node.summary()
            said.append((node, Statement(one.header, one.signature, b"") if at == 7 else one))
    sequencer.log([[screened(one) for person, one in said]])
    publisher = Publisher(journal, DirectoryStore(folder.path), folder.signer)
    publisher.open()
    publisher.publish()
    journal.close()
    return Log(cast, nodes, folder.path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ledger", *arguments])


def test_a_range_brings_what_shows_its_keys(log: Log) -> None:
    bundle = export(log.store, RangeOf(100, 101))
    assert bundle.indices == (0, 1, 2, 3, 4, 5, 6, 100, 101)
    assert export(log.store, RangeOf(100, 100)).indices in {
        (0, 1, 2, enrolment, opening, 100) for enrolment in (3, 4) for opening in (5, 6)
    }


def test_an_author_is_exported_whole(log: Log) -> None:
    node = log.nodes[0].key.key_id
    bundle = export(log.store, SaidBy(node))
    authors = [decode_header(decode_record(record).header).author for record in bundle.records]
    assert authors.count(node) == 1 + EACH
    assert log.nodes[1].key.key_id not in authors


def test_everything_is_everything_and_needs_no_hash(log: Log) -> None:
    bundle = export(log.store, Everything())
    size = 2 + 1 + NODES + NODES + NODES * EACH
    assert bundle.indices == tuple(range(size))
    assert bundle.hashes == ()


def test_bodies_are_those_of_their_records_and_what_is_not_held_is_said(log: Log) -> None:
    bundle = export(log.store, Everything())
    missing = 0
    for record, body in zip(bundle.records, bundle.bodies, strict=True):
        missing += body is None
        if body is not None:
            verify_stored(body, decode_header(decode_record(record).header).stored_digest)
    assert missing == NODES


def test_two_exports_have_the_same_bytes(log: Log, tmp_path: Path) -> None:
    paths = [tmp_path / "one", tmp_path / "other"]
    for path in paths:
        made = run("export", str(log.folder), "--out", str(path), "--from", "3", "--to", "290")
        assert made.exit_code == 0, made.output
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_what_was_exported_is_said(log: Log, tmp_path: Path) -> None:
    out = tmp_path / "bundle.tar"
    node = log.nodes[1].key.key_id.hex()
    made = run("export", str(log.folder), "--out", str(out), "--author", node, "-o", "json")
    told = json.loads(made.stdout)
    bundle = decode_offline_bundle(out.read_bytes())
    assert (told["records"], told["bodies"]) == (len(bundle.records), len(bundle.records) - 1)
    assert told["selection"] == f"author {node}"
    assert told["agreement_digest"] == f"sha256:{log.cast.pins.digest.hex()}"
    words = run("export", str(log.folder), "--out", str(out)).stdout
    assert f"stillwatch verify bundle {out} --agreement-digest sha256:" in words


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--from", "0", "--to", "307"), 4, "[OUT_OF_RANGE]"),
        (("--author", "00" * 32), 4, "[NO_RECORDS]"),
        (("--from", "0"), 2, "go together"),
        (("--from", "4", "--to", "3"), 2, "not before"),
        (("--author", "00" * 32, "--from", "0"), 2, "give --author, or"),
        (("--author", "AA" * 32), 2, "64 hexadecimal digits"),
    ],
)
def test_what_cannot_be_selected_is_told(
    log: Log, tmp_path: Path, options: tuple[str, ...], status: int, words: str
) -> None:
    asked = run("export", str(log.folder), "--out", str(tmp_path / "x"), *options)
    assert asked.exit_code == status, asked.output
    assert words in asked.stderr
    assert not (tmp_path / "x").exists()


def test_a_folder_that_does_not_serve_its_tree_is_not_exported(log: Log, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(log.folder, tmp_path / "copy"))
    entries = copy / "tile/entries/000"
    data = bytearray(entries.read_bytes())
    data[1000] ^= 1
    entries.write_bytes(data)
    with pytest.raises(ProofError) as refused:
        export(DirectoryStore(copy), Everything())
    assert refused.value.reason == "ROOT_MISMATCH"
    entries.unlink()
    with pytest.raises(ExportError) as missing:
        export(DirectoryStore(copy), Everything())
    assert missing.value.reason == "MISSING_FILE"
    (copy / "checkpoint").unlink()
    with pytest.raises(ExportError, match="no checkpoint"):
        export(DirectoryStore(copy), Everything())


def test_a_proof_is_written_as_others_read_it(log: Log, tmp_path: Path) -> None:
    names = {name: str(tmp_path / name) for name in ("out", "record", "body")}
    options = [word for name, path in names.items() for word in (f"--{name}", path)]
    made = run("prove", str(log.folder), "100", *options)
    assert made.exit_code == 0, made.output
    record = Path(names["record"]).read_bytes()
    proof = parse_proof(Path(names["out"]).read_bytes())
    pin: LedgerPin = log.cast.pins.ledgers[0]
    checkpoint, _ = verify_proof(proof, record, Verifier.from_vkey(pin.vkey), log.cast.pins.policy)
    assert (proof.index, proof.extra, checkpoint.size) == (100, None, 307)
    header = decode_header(decode_record(record).header)
    verify_stored(Path(names["body"]).read_bytes(), header.stored_digest)


def test_a_body_that_is_not_held_is_not_written_and_neither_is_its_proof(
    log: Log, tmp_path: Path
) -> None:
    withheld = 2 + 1 + 2 * NODES + 7 * NODES
    out, body = str(tmp_path / "proof"), str(tmp_path / "body")
    asked = run("prove", str(log.folder), str(withheld), "--out", out, "--body", body)
    assert asked.exit_code == 4
    assert "[BODY_NOT_HELD]" in asked.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_one_line(log: Log, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for out in (tmp_path / "none" / "x", tmp_path / "file" / "x"):
        asked = run("export", str(log.folder), "--out", str(out))
        assert asked.exit_code == 4
        assert "[UNWRITABLE]" in asked.stderr
