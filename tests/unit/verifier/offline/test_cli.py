"""``stillwatch verify`` as it is typed: what it prints, and what its exit status says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from statements.offline_bundle import BUNDLE_LIMIT, RangeOf, encode_offline_bundle
from statements.signing import SigningKey
from stillwatch import main
from tests.unit.verifier.offline.bundling import NODE, bundle_of, play
from tlog.proof import LogProof, parse_proof
from verifier.offline import cli
from verifier.offline.outcome import Outcome, Remark

HEADINGS = ["verified", "REFUTED", "not verified", "cannot be shown by this"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["verify", *arguments])


@dataclass
class Files:
    """What somebody was handed of a log: a whole bundle, and record 8 (a window) with what belongs to it."""

    folder: Path
    digest: str
    key: SigningKey
    other_key: SigningKey

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def record(self, *more: str, index: int = 8) -> Result:
        """Verify a record, with more options."""
        given = ["--agreement", self.path("agreement.toml")]
        given += ["--proof", self.path(f"{index}.proof"), "--record", self.path(f"{index}.record")]
        return run("record", *given, *more)

    def bundle(self, *more: str, name: str = "whole.tar") -> Result:
        return run("bundle", self.path(name), "--agreement-digest", self.digest, *more)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("handed")
    book = play()
    book.serve(folder / "log")
    (folder / "agreement.toml").write_text(book.text)
    (folder / "other.toml").write_text(book.text + "\n")
    (folder / "no.toml").write_text("[agreement]\n")
    log = str(folder / "log")
    for index in (4, 8, 13):
        out = [
            word
            for name in ("proof", "record", "body")
            for word in (f"--{'out' if name == 'proof' else name}", str(folder / f"{index}.{name}"))
        ]
        proved = CliRunner().invoke(main, ["ledger", "prove", log, str(index), *out])
        assert proved.exit_code == 0, proved.output
    key, other = book.nodes[NODE].key, book.people["aurora"].key
    (folder / "node.der").write_bytes(key.spki)
    (folder / "other.der").write_bytes(other.spki)
    (folder / "node.pem").write_bytes(
        key.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    (folder / "p384.pem").write_bytes(
        ec.generate_private_key(ec.SECP384R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "whole.tar").write_bytes(encode_offline_bundle(bundle_of(book)))
    torn = bundle_of(book, {0, 1, 2, 3, 4, 6, 8}, RangeOf(6, 8))
    (folder / "torn.tar").write_bytes(encode_offline_bundle(torn))
    return Files(folder, f"sha256:{book.pins.digest.hex()}", key, other)


def reasons(result: Result) -> Mapping[str, list[str]]:
    tree = json.loads(result.stdout)
    return {
        name: [remark["reason"] for remark in tree[name]]
        for name in ("verified", "refuted", "not_verified", "cannot_show")
    }


# Bundles


def test_a_verified_bundle_exits_with_0_and_says_what_holds(files: Files) -> None:
    shown = files.bundle()
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("14 of the 14 records of rehearsal.example/logbook: verified\n")
    assert "[SIGNATURES]" in shown.stdout
    assert [line for line in HEADINGS if f"\n{line}\n" in shown.stdout] == [
        "verified",
        "cannot be shown by this",
    ]
    told = reasons(files.bundle("-o", "json"))
    assert (told["refuted"], told["not_verified"]) == ([], [])
    assert "SIGNATURES" in told["verified"]


def test_an_incomplete_bundle_exits_with_3(files: Files) -> None:
    shown = files.bundle("-o", "json", name="torn.tar")
    assert shown.exit_code == 3
    assert reasons(shown)["not_verified"] == ["RECORDS_MISSING"]
    assert json.loads(shown.stdout)["conclusion"] == "incomplete"


def test_a_bundle_under_another_agreement_is_refuted(files: Files) -> None:
    other = f"sha256:{'0' * 64}"
    shown = run("bundle", files.path("whole.tar"), "--agreement-digest", other, "-o", "json")
    assert shown.exit_code == 1
    assert reasons(shown) == {
        "verified": [],
        "refuted": ["OTHER_AGREEMENT"],
        "not_verified": [],
        "cannot_show": [],
    }


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "NOT_A_BUNDLE"), (bytes(4096), "NOT_A_BUNDLE"), (None, "BUNDLE_CUT")]
)
def test_a_malformed_bundle_is_refuted_with_its_reason(
    files: Files, tmp_path: Path, data: bytes | None, reason: str
) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes((files.folder / "whole.tar").read_bytes()[:-1] if data is None else data)
    shown = run("bundle", str(path), "--agreement-digest", files.digest)
    assert shown.exit_code == 1
    assert f"[{reason}]" in shown.stdout
    assert shown.stdout.startswith(f"{path}: refuted\n")


def test_a_file_beyond_the_limit_is_refused_and_never_read_whole(
    files: Files, tmp_path: Path
) -> None:
    path = tmp_path / "huge.tar"
    with path.open("wb") as sparse:
        sparse.truncate(BUNDLE_LIMIT * 1000)
    shown = run("bundle", str(path), "--agreement-digest", files.digest)
    assert shown.exit_code == 1
    assert "[BUNDLE_TOO_LARGE]" in shown.stdout


@pytest.mark.parametrize(
    "digest", ["sha256:00", "0" * 64, f"sha256:{'A' * 64}", f"SHA256:{'0' * 64}"]
)
def test_a_digest_that_is_none_is_a_fault_of_the_command_line(files: Files, digest: str) -> None:
    asked = run("bundle", files.path("whole.tar"), "--agreement-digest", digest)
    assert asked.exit_code == 2
    assert "64 hexadecimal digits" in asked.stderr


def test_the_digest_is_not_optional_for_a_bundle(files: Files) -> None:
    assert run("bundle", files.path("whole.tar")).exit_code == 2


# Records


def test_a_record_alone_is_verified_and_what_was_not_given_is_said(files: Files) -> None:
    shown = files.record("-o", "json")
    assert shown.exit_code == 0, shown.output
    assert reasons(shown) == {
        "verified": ["LOG_SIGNATURE", "INCLUSION"],
        "refuted": [],
        "not_verified": ["BODY_NOT_GIVEN", "KEY_NOT_GIVEN", "STANDING_NOT_SHOWN"],
        "cannot_show": ["AGREEMENT_NOT_NAMED", "REHEARSAL", "QUORUM_NONE", "CHAIN", "LOGGED_AT"],
    }


@pytest.mark.parametrize("key", ["node.der", "node.pem"])
def test_a_record_with_everything_at_hand_is_verified(files: Files, key: str) -> None:
    more = ["--agreement-digest", files.digest, "--body", files.path("8.body")]
    shown = files.record(*more, "--key", files.path(key), "-o", "json")
    assert shown.exit_code == 0, shown.output
    assert reasons(shown)["verified"] == [
        *("AGREEMENT", "LOG_SIGNATURE", "INCLUSION", "BODY", "SIGNATURE"),
    ]
    assert reasons(shown)["not_verified"] == ["STANDING_NOT_SHOWN"]


def test_an_opening_shows_its_own_key(files: Files) -> None:
    shown = files.record("--body", files.path("4.body"), "-o", "json", index=4)
    assert "SIGNATURE" in reasons(shown)["verified"]
    assert "SIGNATURE" not in reasons(files.record("-o", "json", index=4))["verified"]


def test_the_standing_of_a_pinned_author_is_told(files: Files) -> None:
    words = files.record(index=13).stdout
    assert "the agreement pins its author's key: evaluators meridian [STANDING]" in words


def test_what_is_given_and_does_not_hold_refutes(files: Files, tmp_path: Path) -> None:
    record = (files.folder / "8.record").read_bytes()
    flipped = bytearray(record)
    flipped[200] ^= 1
    (tmp_path / "flipped").write_bytes(flipped)
    (tmp_path / "long").write_bytes(record + b"x")
    for option, path, reason in (
        ("--record", str(tmp_path / "flipped"), "ROOT_MISMATCH"),
        ("--record", str(tmp_path / "long"), "ROOT_MISMATCH"),
        ("--record", files.path("4.record"), "ROOT_MISMATCH"),
        ("--proof", files.path("4.proof"), "ROOT_MISMATCH"),
        ("--proof", files.path("8.record"), "BAD_PROOF_FILE"),
        ("--body", files.path("4.body"), "BODY_MISMATCH"),
        ("--key", files.path("other.der"), "OTHER_KEY"),
    ):
        shown = files.record(option, path)
        assert shown.exit_code == 1, (option, path)
        assert f"[{reason}]" in shown.stdout
        assert "\nverified\n" not in shown.stdout


def test_a_checkpoint_that_was_changed_refutes(files: Files, tmp_path: Path) -> None:
    proof = parse_proof((files.folder / "8.proof").read_bytes())
    note = proof.note.replace(b"\n14\n", b"\n15\n")
    (tmp_path / "proof").write_bytes(LogProof(8, proof.hashes, note).encode())
    shown = files.record("--proof", str(tmp_path / "proof"))
    assert shown.exit_code == 1
    assert "[BAD_SIGNATURE]" in shown.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--agreement", "other.toml"), "not the agreement that you named"),
        (("--agreement", "no.toml"), "[NO_LEDGER]"),
        (("--agreement", "8.body"), "[NOT_TOML]"),
        (("--key", "p384.pem"), "no ECDSA P-256 public key"),
        (("--key", "8.body"), "no ECDSA P-256 public key"),
        (("--body", "missing"), "does not exist"),
    ],
)
def test_what_is_no_such_file_is_a_fault_of_the_command_line(
    files: Files, options: tuple[str, str], words: str
) -> None:
    more = ["--agreement-digest", files.digest, options[0], files.path(options[1])]
    asked = files.record(*more)
    assert asked.exit_code == 2, asked.output
    assert words in asked.stderr
    assert asked.stdout == ""


# The edges


def test_a_defect_refutes_nothing(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Outcome:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "verify_bundle", broken)
    shown = files.bundle()
    assert shown.exit_code == 4
    assert "ZeroDivisionError" in shown.stderr
    assert "nothing is concluded" in shown.stderr


def test_a_file_that_cannot_be_read_is_status_4(files: Files) -> None:
    unreadable = "/proc/self/mem"  # at its beginning nothing is mapped
    shown = run("bundle", unreadable, "--agreement-digest", files.digest)
    assert shown.exit_code == 4
    assert f"cannot read {unreadable}" in shown.stderr


def test_nothing_is_verified_by_default() -> None:
    outcome = Outcome()
    conclusions = [outcome.conclusion]
    for note in (outcome.hold, outcome.miss, outcome.refute):
        note("X", "something")
        conclusions.append(outcome.conclusion)
    assert [conclusion.value for conclusion in conclusions] == [
        *("refuted", "verified", "incomplete", "refuted"),
    ]


def test_long_lists_are_cut_for_people_and_whole_for_programs(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [Remark("BODY_NOT_HELD", "the body is not here", at) for at in range(90)]
    outcome = Outcome("a bundle", [Remark("X", "something")], many)
    monkeypatch.setattr(cli, "verify_bundle", lambda *_: outcome)
    words = files.bundle().stdout
    assert "… and 70 more: -o json lists all" in words
    assert "record 19: the body is not here [BODY_NOT_HELD]" in words
    assert "record 20:" not in words
    assert len(reasons(files.bundle("-o", "json"))["not_verified"]) == 90


def test_nothing_that_is_shown_moves_the_cursor(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome("a\x9b2Jbundle", [Remark("X", "some\x1b[1Athing \u202e")])
    monkeypatch.setattr(cli, "verify_bundle", lambda *_: outcome)
    shown = files.bundle().stdout
    assert all(line.isprintable() for line in shown.splitlines())
    assert "some\N{REPLACEMENT CHARACTER}[1Athing" in shown
