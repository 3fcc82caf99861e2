"""``stillwatch agent rotate``, and ``revoke``, as an operator types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from attestor.cli import agent
from statements.keys import read_author, read_signing_key, write_signing_key
from statements.ledger_client import LedgerClient
from statements.signing import SigningKey
from tests.unit.statements.conftest import RealLedger


def _run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(agent, [*arguments, "-o", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("text", ["", "node1", "ab" * 31])
def test_what_names_no_key_is_refused_before_anything_is_said(text: str) -> None:
    result = CliRunner().invoke(
        agent, ["revoke", "--party-key", "k", "--key-id", text, "--ledger", "x", "--agreement", "a"]
    )
    assert result.exit_code == 2
    assert "64 hexadecimal digits" in result.output


def test_a_node_goes_on_under_another_key_as_the_same_node_until_its_party_revokes_that(
    tmp_path: Path, ledger: RealLedger
) -> None:
    path, first = tmp_path / "node.key", SigningKey.generate()
    write_signing_key(path, first)
    agreement = str(ledger.party.parent / "agreement.toml")
    request = str(tmp_path / "node.json")
    _run(
        *("enrol", "request", "--key", str(path), "--agreement", agreement, "--party", "aster"),
        *("--name", "node", "--chips", "2", "--token", "once", "--out", request),
    )
    _run(
        *("enrol", "sign", "--party-key", str(ledger.party), "--request", request),
        *("--token", "once", "--site", "hall", "--ledger", ledger.target, "--agreement", agreement),
    )
    done = _run("rotate", "--key", str(path), "--ledger", ledger.target, "--agreement", agreement)
    key = read_signing_key(path)
    assert done["author"] == done["old_key"] == first.key_id.hex()
    assert done["new_key"] == key.key_id.hex() != first.key_id.hex()
    assert read_author(path, key) == first.key_id
    assert read_signing_key(Path(str(done["retired"]))).key_id == first.key_id
    with LedgerClient(ledger.target) as client:
        assert client.speaks(first.key_id)
        ended = _run(
            *("revoke", "--party-key", str(ledger.party), "--key-id", key.key_id.hex()),
            *("--reason", "lost", "--ledger", ledger.target, "--agreement", agreement),
        )
        assert ended["revoked"] == key.key_id.hex()
        assert not client.speaks(first.key_id)
