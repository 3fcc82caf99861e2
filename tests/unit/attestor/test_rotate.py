"""``stillwatch agent rotate``, as an operator types it."""

import json
from pathlib import Path

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


def test_a_node_is_enrolled_and_goes_on_under_another_key_as_the_same_node(
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
