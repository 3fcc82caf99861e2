"""Two ledgers, one author that tells each something else, and a third person who hands the two headers over."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.author import Author, Statement
from statements.keys import write_signing_key
from statements.ledger_client import LedgerClient, Receipt
from statements.pins import agreement_digest
from statements.signing import SigningKey
from stillwatch import main
from tests.unit.ledger.process import LedgerProcess
from verifier.agreement.pinning import LedgerEntry, pin

ROOT = Path(__file__).parents[2]
ORIGINS = ("rehearsal.example/one", "rehearsal.example/two")
SALT = bytes(16)


@dataclass
class Town:
    """Two served logs under one agreement, and its party aurora with the key that it uses in both."""

    folder: Path
    ledgers: tuple[LedgerProcess, LedgerProcess]
    party: SigningKey
    saviour: Path

    @property
    def agreement(self) -> str:
        return str(self.folder / "agreement.toml")

    def append(self, ledger: int, *said: Statement) -> list[int]:
        with LedgerClient(self.ledgers[ledger].grpc) as client:
            answers = client.append(said)
        return [answer.index for answer in answers if isinstance(answer, Receipt)]

    def place(self, ledger: int) -> str:
        return str(self.ledgers[ledger].folder)

    def opening(self) -> tuple[Statement, Author]:
        opening = identity_pb2.Opening(
            key=self.party.spki, logs=list(ORIGINS), agreements=[self.digest]
        )
        now = time.time_ns() // 1_000_000
        return Author.opening(self.party, b"e" * 16).say(opening, now, now, salt=SALT)

    @property
    def digest(self) -> bytes:
        return agreement_digest(Path(self.agreement).read_bytes())

    def wait_published(self, ledger: int, index: int) -> None:
        """Wait until a published tree holds a record."""
        deadline = time.monotonic() + 20
        while int((self.ledgers[ledger].folder / "checkpoint").read_text().split("\n")[1]) <= index:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def stillwatch(*arguments: str) -> Result:
    """Run a command in this process: the ledgers are processes of their own, and that is slow enough."""
    return CliRunner().invoke(main, arguments)


def _made(folder: Path, origin: str) -> LedgerEntry:
    done = stillwatch("ledger", "init", str(folder), "--origin", origin, "-o", "json")
    assert done.exit_code == 0, done.stderr
    entry: LedgerEntry = json.loads(done.stdout)
    return entry


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    party, saviour = SigningKey.generate(), SigningKey.generate()
    write_signing_key(tmp_path / "saviour.key", saviour)
    folders = tmp_path / "one", tmp_path / "two"
    text = pin(
        (ROOT / "policies/agreements/frontier-pause.toml").read_text(),
        keys={"parties": {"aurora": f"sha256:{party.key_id.hex()}"}},
        ledgers=[_made(*made) for made in zip(folders, ORIGINS, strict=True)],
        overrides={
            "witnesses.policy": '"quorum none\\n"',
            "windows.late_grace": "1 s",
            "windows.tick": "1 s",
        },
        rehearsal=True,
        recovery_keys={"parties": {"aurora": f"sha256:{saviour.key_id.hex()}"}},
    )
    (tmp_path / "agreement.toml").write_text(text)
    for folder in folders:
        done = stillwatch(
            "ledger", "init", str(folder), "--agreement", str(tmp_path / "agreement.toml")
        )
        assert done.exit_code == 0, done.stderr
    processes = LedgerProcess(folders[0]), LedgerProcess(folders[1])
    try:
        yield Town(
            tmp_path,
            (processes[0].start(), processes[1].start()),
            party,
            tmp_path / "saviour.key",
        )
    finally:
        for process in processes:
            process.end()


def _told_apart(town: Town) -> tuple[Statement, Statement]:
    """Let aurora say one thing to one ledger and another, in the same place, to the other."""
    now = time.time_ns() // 1_000_000
    opening, place = town.opening()
    said = []
    for at, text in enumerate(("the breaker tripped", "nothing happened")):
        one, _ = place.say(governance_pb2.Reply(finding="F", text=text), now, now, salt=SALT)
        (_, index) = town.append(at, opening, one)
        town.wait_published(at, index)
        said.append(one)
    return said[0], said[1]


def _forks(town: Town, *arguments: str) -> Result:
    return stillwatch("audit", "forks", *arguments, "--agreement", town.agreement)


def test_a_third_person_hands_a_fork_over_and_the_next_verdict_names_the_party(
    town: Town,
) -> None:
    first, second = _told_apart(town)
    alone = _forks(town, town.place(0))
    assert alone.exit_code == 0, alone.output
    assert "no author" in alone.stdout

    found = _forks(town, town.place(0), town.place(1), "-o", "json")
    assert found.exit_code == 1, found.stderr
    (fork,) = json.loads(found.stdout)["forks"]
    assert (fork["who"], fork["sequence"], fork["logged"]) == ("parties.aurora", 1, None)
    assert [one["statement_id"] for one in fork["statements"]] == [first.id.hex(), second.id.hex()]

    grpc = town.ledgers[0].grpc
    handed = _forks(town, town.place(0), town.place(1), "--hand-to", grpc, "-o", "json")
    assert handed.exit_code == 1, handed.stderr
    logged = json.loads(handed.stdout)["forks"][0]["logged"]
    assert logged["proof"] > logged["first"]
    again = _forks(town, town.place(0), town.place(1), "--hand-to", grpc)
    assert f"record {logged['proof']} proves it, beside record {logged['first']}" in again.stdout

    time.sleep(5)  # ticks past the end of the period, and its grace
    verdict = town.folder / "verdict.json"
    now = time.time()
    period = "/".join(
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - ago)) for ago in (60, 3)
    )
    audited = stillwatch(
        *("audit", "run", "--agreement", town.agreement, "--log", town.place(0)),
        *("--period", period, "--out", str(verdict)),
    )
    assert audited.exit_code == 1, audited.stdout + audited.stderr
    parties = {party["party"]: party for party in json.loads(verdict.read_text())["parties"]}
    (named,) = [one for one in parties["aurora"]["findings"] if one["check"] == "chain_fork"]
    assert (named["subject"], named["severity"]) == ("party aurora", "breach")
    assert {one["index"] for one in named["evidence"]} == {logged["first"], logged["proof"]}
    whole = stillwatch("ledger", "fsck", town.place(0))
    assert whole.exit_code == 0, whole.stdout + whole.stderr


def test_a_bundle_is_as_good_as_a_log_and_the_other_ledger_takes_it_too(
    town: Town,
) -> None:
    _told_apart(town)
    bundle = town.folder / "theirs.bundle.tar"
    author = town.party.key_id.hex()
    made = stillwatch("ledger", "export", town.place(1), "--author", author, "--out", str(bundle))
    assert made.exit_code == 0, made.stderr
    handed = _forks(
        town, town.place(0), str(bundle), "--hand-to", town.ledgers[1].grpc, "-o", "json"
    )
    assert handed.exit_code == 1, handed.stderr
    assert json.loads(handed.stdout)["forks"][0]["logged"]["proof"] > 3


def test_once_the_key_was_replaced_the_fork_proves_nothing_and_the_ledger_takes_it_not(
    town: Town,
) -> None:
    """A thief who comes too late; what was handed over before stands."""
    _told_apart(town)
    request, key = str(town.folder / "aurora.json"), str(town.folder / "aurora.key")
    asked = stillwatch(
        *("agent", "recover", "request", "--key", key, "--agreement", town.agreement),
        *("--author", "aurora", "--out", request, "-o", "json"),
    )
    assert asked.exit_code == 0, asked.stderr
    signed = stillwatch(
        *("agent", "recover", "sign", "--by", str(town.saviour), "--request", request),
        *("--new-key", json.loads(asked.stdout)["new_key"], "--ledger", town.ledgers[0].grpc),
        *("--agreement", town.agreement, "--origin", ORIGINS[0]),
    )
    assert signed.exit_code == 0, signed.stderr
    refused = _forks(town, town.place(0), town.place(1), "--hand-to", town.ledgers[0].grpc)
    assert refused.exit_code == 4
    assert "NOT_TAKEN" in refused.stderr
    assert "proves nothing any more" in refused.stderr
    accede = stillwatch(
        *("agreement", "accede", "--key", key, "--ledger", town.ledgers[0].grpc),
        *("--agreement", town.agreement, "--origin", ORIGINS[0]),
    )
    assert accede.exit_code == 0, accede.stderr
    whole = stillwatch("ledger", "fsck", town.place(0))
    assert whole.exit_code == 0, whole.stdout + whole.stderr
