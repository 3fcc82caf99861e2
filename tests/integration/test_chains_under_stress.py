"""What goes wrong with chains, end to end: the honest go on, and whoever contradicts itself is named.

Agent, ledger and auditor are real. Chips are replayed; the clock is scaled.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from attestor.window import align
from protos.stillwatch.statement.v1 import identity_pb2, summary_pb2
from statements.author import Author, Seen, Statement
from statements.errors import SubmissionError
from statements.header import decode_header
from statements.kinds import Kind
from statements.ledger_client import Receipt, Refusal
from statements.rotation import rotation
from statements.signing import ORDER, SigningKey
from tests.integration.stage import AT, Stage, covered, minutes, on_chains
from tests.unit.attestor.conftest import record
from tests.unit.verifier.logbook import MINUTE
from verifier.checks.interface import Severity
from verifier.evidence.chains import Contradiction
from verifier.ruleset import Ruleset, own_ruleset
from verifier.verdict import PartyVerdict

__all__ = ["record"]  # a fixture of the agent's tests

SALT = bytes(16)


@pytest.fixture(scope="module")
def ruleset() -> Ruleset:
    return own_ruleset()


@pytest.fixture
def stage(tmp_path: Path, record: Callable[..., Path]) -> Iterator[Stage]:
    stage = Stage(tmp_path, record(chips=2, seconds=1500))
    yield stage
    stage.close()


def _assert_honest(stage: Stage, ruleset: Ruleset, minutes: int) -> PartyVerdict:
    """Nobody contradicted itself, nothing is missing from a chain, and the ledger did what it should."""
    party = stage.verdict(AT, AT + minutes * MINUTE, ruleset)
    evidence = stage.evidence()
    assert (evidence.chains.forks, evidence.chains.gaps, evidence.faults) == ((), (), ())
    assert on_chains(party) == []
    return party


def _spool(stage: Stage) -> list[Path]:
    return sorted(stage.folder.glob("spool*"))


# ----------------------------------------------------------------------------------------- honest faults


def test_an_agent_that_lost_its_spool_goes_on_after_what_the_ledger_has(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 3 * MINUTE)
    newest = stage.author(stage.first.key_id)[-1]
    for path in _spool(stage):
        path.unlink()
    stage.run(AT + 4 * MINUTE, AT + 6 * MINUTE)
    party = _assert_honest(stage, ruleset, 6)
    assert stage.heard() == minutes(0, 1, 2, 4, 5)
    openings = [header for header in stage.headers() if header.kind == Kind.OPENING]
    assert [header.previous for header in openings] == [bytes(32), newest.statement_id]
    assert covered(party) == pytest.approx(5 / 6), "the minute between is missing, and said to be"


def test_what_a_lost_spool_had_not_sent_is_missing_and_never_made_up(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + MINUTE)

    def down(_: Sequence[Statement]) -> list[Receipt | Refusal]:
        raise SubmissionError("UNAVAILABLE", "down")

    stage.via = down
    assert stage.run(AT + MINUTE, AT + 3 * MINUTE).unlogged > 0
    for path in _spool(stage):
        path.unlink()
    stage.via = stage.take
    stage.run(AT + 3 * MINUTE, AT + 5 * MINUTE)
    _assert_honest(stage, ruleset, 5)
    assert stage.heard() == minutes(0, 3, 4)


@pytest.mark.parametrize("unsent", [False, True])
def test_an_agent_restored_from_a_snapshot_of_its_disk_opens_a_new_epoch_and_contradicts_nothing(
    stage: Stage, ruleset: Ruleset, unsent: bool
) -> None:
    if unsent:

        def deaf(_: Sequence[Statement]) -> list[Receipt | Refusal]:
            raise SubmissionError("UNAVAILABLE", "down")

        stage.via = deaf
    stage.run(AT, AT + 2 * MINUTE)
    snapshot = stage.folder / "snapshot"
    snapshot.mkdir()
    for path in _spool(stage):
        shutil.copy(path, snapshot)
    stage.via = stage.take
    stage.run(AT + 2 * MINUTE, AT + 4 * MINUTE)
    for path in _spool(stage):
        path.unlink()
    for path in snapshot.iterdir():
        shutil.copy(path, stage.folder)
    stage.run(AT + 5 * MINUTE, AT + 7 * MINUTE)
    _assert_honest(stage, ruleset, 7)
    assert stage.heard() == minutes(0, 1, 2, 3, 5, 6)


def test_a_machine_restored_with_its_memory_is_refused_and_an_honest_ledger_convicts_nobody(
    stage: Stage, ruleset: Ruleset
) -> None:
    """It does sign a place twice; sent alone, an honest ledger keeps that to itself."""
    node = stage.clone()
    opening, node = node.say(stage.opening(stage.key), AT, AT, salt=SALT)
    first, _ = node.say(summary_pb2.WorkloadSummary(samples_taken=1), AT, AT + MINUTE, salt=SALT)
    again, _ = node.say(summary_pb2.WorkloadSummary(samples_taken=2), AT, AT + MINUTE, salt=SALT)
    stage.take([opening, first])
    (refused,) = stage.take([again])
    assert isinstance(refused, Refusal)
    assert refused.reason == "FORK"
    stage.run(AT + MINUTE, AT + 3 * MINUTE)
    _assert_honest(stage, ruleset, 3)
    assert stage.heard() == minutes(0, 1, 2)


@pytest.mark.parametrize("lost", [1, 3])
def test_lost_acknowledgements_double_nothing_and_lose_nothing(
    stage: Stage, ruleset: Ruleset, lost: int
) -> None:
    left = lost

    def unreliable(statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        nonlocal left
        answers = stage.take(statements)
        if left:
            left -= 1
            raise SubmissionError("UNAVAILABLE", "the answer was lost")
        return answers

    stage.via = unreliable
    assert stage.run(AT, AT + 4 * MINUTE).unlogged == 0
    _assert_honest(stage, ruleset, 4)
    assert stage.heard() == minutes(0, 1, 2, 3)
    assert len({header.epoch for header in stage.headers()}) == 1


def test_a_signature_malleated_on_the_way_is_refused_and_costs_no_window(
    stage: Stage, ruleset: Ruleset
) -> None:
    changed: list[Statement] = []

    def hostile(statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        sent = list(statements)
        if not changed and decode_header(sent[-1].header).kind == Kind.SUMMARY:
            s = ORDER - int.from_bytes(sent[-1].signature[32:], "big")
            other = sent[-1].signature[:32] + s.to_bytes(32, "big")
            sent[-1] = Statement(sent[-1].header, other, sent[-1].stored)
            changed.append(sent[-1])
        return stage.take(sent)

    stage.via = hostile
    assert stage.run(AT, AT + 4 * MINUTE).unlogged == 0
    assert changed
    _assert_honest(stage, ruleset, 4)
    assert stage.heard() == minutes(0, 1, 2, 3)


# ------------------------------------------------------------------------------------------------ clones


def _cloned(stage: Stage, minutes: int) -> Author:
    """Run the node's agent while somebody with a copy of its key opens a newer epoch; return that one."""
    clones: list[Author] = []

    def cloned(statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        answers = stage.take(statements)
        if not clones and len(stage.headers()) > 3:
            opening, clone = stage.clone().say(stage.opening(stage.key), AT, AT, salt=SALT)
            stage.take([opening])
            clones.append(clone)
        return answers

    stage.via = cloned
    assert stage.run(AT, AT + minutes * MINUTE).unlogged == 0
    stage.via = stage.take
    return clones[0]


def _says(stage: Stage, clone: Author, minute: int, seen: Seen) -> list[Receipt | Refusal]:
    start = AT + minute * MINUTE
    said, _ = clone.say(
        summary_pb2.WorkloadSummary(samples_taken=1), start, start + MINUTE, salt=SALT, seen=seen
    )
    return stage.take([said])


def test_the_honest_node_gives_its_epoch_up_when_a_clone_opens_another_and_loses_no_window(
    stage: Stage, ruleset: Ruleset
) -> None:
    _cloned(stage, 6)
    assert stage.heard() == minutes(*range(6))
    _assert_honest(stage, ruleset, 6)


def test_a_clone_that_speaks_on_having_seen_the_node_s_new_epoch_is_proof_of_itself(
    stage: Stage, ruleset: Ruleset
) -> None:
    clone = _cloned(stage, 6)
    (answer,) = _says(stage, clone, 5, stage.seen())
    assert isinstance(answer, Receipt), "its order is right: whether it may is for auditors"
    party = stage.verdict(AT, AT + 6 * MINUTE, ruleset)
    (fork,) = stage.evidence().chains.forks
    assert (fork.author, fork.what) == (stage.first.key_id, Contradiction.SUPERSEDED)
    assert on_chains(party) == [("chain_fork", Severity.BREACH)]


def test_a_clone_that_hides_what_it_saw_gives_itself_away_by_telling_a_minute_twice(
    stage: Stage, ruleset: Ruleset
) -> None:
    """No header proves it; but the minute is told in two ways, and then neither decides."""
    clone = _cloned(stage, 6)
    start = AT + 5 * MINUTE
    copied, _ = clone.say(stage.summary(AT + 4 * MINUTE), start, start + MINUTE, salt=SALT)
    assert isinstance(stage.take([copied])[0], Receipt)
    party = stage.verdict(AT, AT + 6 * MINUTE, ruleset)
    assert stage.evidence().chains.forks == ()
    assert on_chains(party) == []
    (twice,) = [one.finding for one in party.findings if one.finding.check == "told_twice"]
    assert (twice.severity, twice.from_ms) == (Severity.DOUBT, start)
    assert copied.id in {one.statement_id for one in twice.evidence}


def test_once_the_key_is_rotated_the_clone_is_silent_and_the_node_goes_on_uncontested(
    stage: Stage, ruleset: Ruleset
) -> None:
    clone = _cloned(stage, 4)
    _says(stage, clone, 3, stage.seen())
    new, author = SigningKey.generate(), stage.first.key_id
    node = stage.clone()
    opening, node = node.say(stage.opening(stage.key), AT, AT, salt=SALT)
    rotating, _ = node.say(rotation(new, author, stage.key.key_id), AT, AT, salt=SALT)
    assert all(isinstance(one, Receipt) for one in stage.take([opening, rotating]))
    stage.key = new
    start = align(stage.hours.now_ms(), MINUTE) + 2 * MINUTE
    stage.run(start, start + 6 * MINUTE)
    (refused,) = _says(stage, clone, 9, stage.seen())
    assert isinstance(refused, Refusal)
    assert refused.reason == "REVOKED_KEY"
    party = stage.verdict(start, start + 6 * MINUTE, ruleset)
    assert on_chains(party) == []
    assert {start + number * MINUTE for number in range(6)} <= set(stage.heard())
    assert len(stage.evidence().nodes) == 1, "it is the same node"


def test_two_headers_for_one_place_name_the_author_whoever_hands_them_over(
    stage: Stage, ruleset: Ruleset
) -> None:
    node = stage.clone()
    opening, node = node.say(stage.opening(stage.key), AT, AT, salt=SALT)
    first, after = node.say(
        summary_pb2.WorkloadSummary(samples_taken=1), AT, AT + MINUTE, salt=SALT
    )
    second, _ = node.say(summary_pb2.WorkloadSummary(samples_taken=2), AT, AT + MINUTE, salt=SALT)
    stage.wait_until(AT + MINUTE)
    stage.take([opening, first])
    assert all(isinstance(one, Receipt) for one in stage.take([first, second]))
    third, _ = after.say(
        summary_pb2.WorkloadSummary(samples_taken=3), AT + MINUTE, AT + 2 * MINUTE, salt=SALT
    )
    assert isinstance(stage.take([third])[0], Receipt), "the branch logged first goes on"
    party = stage.verdict(AT, AT + 2 * MINUTE, ruleset)
    (fork,) = stage.evidence().chains.forks
    assert (fork.author, fork.what) == (stage.first.key_id, Contradiction.SAME_PLACE)
    assert on_chains(party) == [("chain_fork", Severity.BREACH)]
    assert stage.heard() == minutes(0, 1)


def test_a_revoked_node_is_silent_from_then_on_and_owes_its_chips(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 2 * MINUTE)
    stage.party_says(identity_pb2.Revocation(key_id=stage.key.key_id, reason="stolen"))
    assert stage.run(AT + 2 * MINUTE, AT + 4 * MINUTE).unlogged > 0
    party = _assert_honest(stage, ruleset, 4)
    assert stage.heard() == minutes(0, 1)
    assert [node.chips for node in stage.evidence().nodes] == [2]
    assert covered(party) == pytest.approx(2 / 4)
