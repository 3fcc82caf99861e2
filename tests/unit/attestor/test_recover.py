"""``stillwatch agent recover`` as people type it, against a real ledger."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attestor.cli import agent
from statements.keys import read_author, read_signing_key, write_signing_key
from statements.ledger_client import LedgerClient
from statements.signing import SigningKey
from stillwatch import main
from tests.unit.statements.conftest import RealLedger


def _run(*arguments: str) -> dict[str, str]:
    result = CliRunner().invoke(agent, [*arguments, "-o", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, str] = json.loads(result.stdout)
    return found


def _refused(*arguments: str) -> str:
    result: Result = CliRunner().invoke(main, ["agent", "recover", *arguments])
    assert result.exit_code in {2, 4}, result.output
    return result.output


def _request(ledger: RealLedger, folder: Path, author: str) -> tuple[Path, dict[str, str]]:
    """Ask for a new key; return its file, and what was printed."""
    path = folder / f"{author[:12]}.key"
    asked = _run(
        *("recover", "request", "--key", str(path), "--agreement", str(ledger.agreement)),
        *("--author", author, "--out", str(folder / f"{author[:12]}.json")),
    )
    return path, asked


def _sign(ledger: RealLedger, by: str, asked: dict[str, str], new_key: str = "") -> list[str]:
    return [
        *("sign", "--by", str(ledger.key(by)), "--request", asked["request"]),
        *("--new-key", new_key or asked["new_key"], "--ledger", ledger.target),
        *("--agreement", str(ledger.agreement)),
    ]


def test_an_evaluator_that_lost_its_key_gets_another_by_its_recovery_key(
    tmp_path: Path, ledger: RealLedger
) -> None:
    path, asked = _request(ledger, tmp_path, "gauge")
    done = _run("recover", *_sign(ledger, "saviour", asked), "--reason", "the disk died")
    key = read_signing_key(path)
    assert done["done"] == "replaced"
    assert (done["new_key"], done["author"]) == (key.key_id.hex(), asked["author"])
    assert read_author(path, key).hex() == asked["author"]
    with LedgerClient(ledger.target) as client:
        assert client.speaks(bytes.fromhex(asked["author"]))


def test_a_party_gives_its_revoked_node_another_key(tmp_path: Path, ledger: RealLedger) -> None:
    path, first = tmp_path / "node.key", SigningKey.generate()
    write_signing_key(path, first)
    agreement, node = str(ledger.agreement), first.key_id.hex()
    _run(
        *("enrol", "request", "--key", str(path), "--agreement", agreement, "--party", "aster"),
        *("--name", "node", "--chips", "2", "--token", "t", "--out", str(tmp_path / "n.json")),
    )
    _run(
        *("enrol", "sign", "--party-key", str(ledger.party), "--site", "hall", "--token", "t"),
        *("--request", str(tmp_path / "n.json"), "--ledger", ledger.target),
        *("--agreement", agreement),
    )
    _run(
        *("revoke", "--party-key", str(ledger.party), "--key-id", node),
        *("--ledger", ledger.target, "--agreement", agreement),
    )
    with LedgerClient(ledger.target) as client:
        assert not client.speaks(first.key_id)
        _, asked = _request(ledger, tmp_path, node)
        assert asked["author"] == node
        _run("recover", *_sign(ledger, "party", asked))
        assert client.speaks(first.key_id)


def test_the_panel_gives_a_key_once_a_quorum_voted_for_it(
    tmp_path: Path, ledger: RealLedger
) -> None:
    """The auditor has no recovery key."""
    path, asked = _request(ledger, tmp_path, "verifiers.auditor")
    first = _run("recover", *_sign(ledger, "judge-1", asked))
    assert "once 2 of the panel" in first["done"]
    agreement = ["--ledger", ledger.target, "--agreement", str(ledger.agreement)]
    early = CliRunner().invoke(main, ["agent", "rotate", "--key", str(path), *agreement])
    assert "UNKNOWN_KEY" in early.output
    path.with_name(path.name + ".next").unlink()
    _run("recover", *_sign(ledger, "judge-2", asked))
    assert _run("rotate", "--key", str(path), *agreement)["author"] == asked["author"]


def test_a_request_that_was_swapped_on_the_way_is_refused(
    tmp_path: Path, ledger: RealLedger
) -> None:
    _, asked = _request(ledger, tmp_path, "gauge")
    (tmp_path / "thief").mkdir()
    _, thiefs = _request(ledger, tmp_path / "thief", "gauge")
    swapped = _sign(ledger, "saviour", thiefs, asked["new_key"])
    assert "OTHER_KEY" in _refused(*swapped)


@pytest.mark.parametrize("by", ["party", "gauge", "auditor"])
def test_who_may_not_replace_a_key_is_told(tmp_path: Path, ledger: RealLedger, by: str) -> None:
    _, asked = _request(ledger, tmp_path, "gauge")
    assert "NOT_ENTITLED" in _refused(*_sign(ledger, by, asked))


@pytest.mark.parametrize(
    ("author", "reason"),
    [
        ("nobody", "UNKNOWN_AUTHOR"),
        ("ab" * 31, "UNKNOWN_AUTHOR"),
        ("rehearsal.example/statements", "UNKNOWN_AUTHOR"),
    ],
)
def test_whoever_is_nobody_gets_no_key(
    tmp_path: Path, ledger: RealLedger, author: str, reason: str
) -> None:
    path = tmp_path / "new.key"
    said = _refused(
        *("request", "--key", str(path), "--agreement", str(ledger.agreement)),
        *("--author", author, "--out", str(tmp_path / "out.json")),
    )
    assert reason in said
    assert not path.exists()


def test_a_file_that_is_no_request_is_told(tmp_path: Path, ledger: RealLedger) -> None:
    for name, data in (("missing", None), ("bytes", b"\xff"), ("text", b"hello")):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        said = _refused(
            *_sign(ledger, "saviour", {"request": str(tmp_path / name), "new_key": "ab" * 32})
        )
        assert "NOT_A_REQUEST" in said
