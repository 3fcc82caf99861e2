"""Sealed windows end to end: a real agent seals them, a real ledger logs them, and who may read them concludes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from statements.kinds import PUBLIC, Kind
from statements.sealing import ReadingKey
from tests.integration.stage import AT, CHIPS, Stage
from tests.unit.attestor.conftest import record
from tests.unit.verifier.auditing import found, party_of
from tests.unit.verifier.logbook import MINUTE
from tests.unit.verifier.test_sealed import AISI, PEER, TERMS, judged
from verifier.evidence.gather import gather
from verifier.ruleset import Ruleset, own_ruleset
from verifier.verdict import PartyVerdict

__all__ = ["record"]  # a fixture of the agent's tests


@pytest.fixture(scope="module")
def ruleset() -> Ruleset:
    return own_ruleset()


@pytest.fixture
def stage(tmp_path: Path, record: Callable[..., Path]) -> Iterator[Stage]:
    stage = Stage(tmp_path, record(chips=CHIPS, seconds=1500), TERMS)
    yield stage
    stage.close()


def verdict(stage: Stage, minutes: int, ruleset: Ruleset, *keys: ReadingKey) -> PartyVerdict:
    end = AT + minutes * MINUTE
    stage.tick()  # the last window was logged by now
    stage.verdict(AT, end, ruleset)  # lets the log's time pass
    return party_of(judged(stage.read_log(), (AT, end), ruleset, *keys), "aurora")


def covered(party: PartyVerdict) -> float:
    """Return the share of the node's chip time with evidence; the party declared 16 H100e, and has no other node."""
    return party.account.coverage * 16 / CHIPS


def test_readers_see_every_window_of_an_agent_that_was_restarted_and_others_none(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 3 * MINUTE)
    stage.run(AT + 3 * MINUTE, AT + 6 * MINUTE)
    said = stage.headers()
    assert [h.kind for h in said].count(int(Kind.OPENING)) == 2
    assert [h.kind for h in said].count(int(Kind.CONTENT_KEY)) == 4, "today's and tomorrow's, twice"
    assert all((h.disclosure == PUBLIC) == (h.kind != Kind.SUMMARY) for h in said)
    assert stage.heard() == [AT + at * MINUTE for at in range(6)], "that it was said is public"
    for reader in (AISI, PEER):
        party = verdict(stage, 6, ruleset, reader)
        assert covered(party) == pytest.approx(1.0)
        assert not found(party, "sealed_bodies")
    blind = verdict(stage, 6, ruleset)
    assert blind.account.coverage == 0
    (finding,) = found(blind, "sealed_bodies")
    assert finding.summary.startswith("6 bodies are sealed to inspectors")
    assert gather(stage.book.pins, stage.read_log().prefix()).faults == ()


def test_an_agent_that_lost_its_spool_seals_with_new_keys_and_readers_open_both(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 3 * MINUTE)
    for path in sorted(stage.folder.glob("spool*")):
        path.unlink()
    stage.run(AT + 3 * MINUTE, AT + 6 * MINUTE)
    party = verdict(stage, 6, ruleset, AISI)
    assert covered(party) == pytest.approx(1.0)
    assert not found(party, "sealed_bodies")


def test_neither_the_ledger_nor_the_spool_holds_a_window_in_plain(stage: Stage) -> None:
    stage.run(AT, AT + 2 * MINUTE)
    book = stage.read_log()
    evidence = gather(book.pins, book.prefix(), (AISI,))
    rows = [row for row, kind in enumerate(evidence.records.kind.tolist()) if kind == Kind.SUMMARY]
    plain = [
        evidence.opener.open(
            evidence.records, row, book.bodies[int(evidence.records.index[row])] or b""
        )
        for row in rows
    ]
    assert len(plain) == 2
    held = {path: path.read_bytes() for path in stage.folder.rglob("*") if path.is_file()}
    assert any("journal" in str(path) for path in held)
    for body in plain:
        for path, data in held.items():
            assert body[2:18] not in data, f"the salt is in {path}"
            assert body[40:140] not in data, f"what was said is in {path}"
