"""Rulings close findings, to the extent to which they were found, and nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protos.stillwatch.statement.v1 import governance_pb2
from statements.keys import write_signing_key
from stillwatch import main
from tests.unit.verifier.auditing import audit, outcomes, party_of, verdict_on
from tests.unit.verifier.logbook import MINUTE, TRAINING, Logbook, Pause, Work, play
from verifier.accounts.obligations import Outcome
from verifier.cli import verdict_message
from verifier.report.document import encode_document, to_document
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion, Verdict

C = Conclusion


def _rule(pause: Pause, ruleset: Ruleset, outcome: int, party: str = "borealis") -> Verdict:
    """Publish the verdict, have two judges rule on the party's finding, and audit again."""
    return audit(_ruled(pause, ruleset, outcome, party), pause.in_force, ruleset)


def _ruled(pause: Pause, ruleset: Ruleset, outcome: int, party: str = "borealis") -> Logbook:
    """Return the log with the verdict, and two judges' rulings on each of the party's findings."""
    book = pause.book.copy()
    verdict = audit(book, pause.in_force, ruleset)
    data = encode_document(to_document(verdict))
    said = book.sign(book.people["auditor"], verdict_message(verdict, data))
    book.log(said)
    for finding in party_of(verdict, party).open_findings:
        for judge in ("judge-tanaka", "judge-adeyemi"):
            book.say(
                judge,
                governance_pb2.Ruling(
                    finding=finding, verdict=said.id, party=party, reason="seen",
                    outcome=governance_pb2.Ruling.Outcome.ValueType(outcome), agreement=book.pins.digest,
                ),
            )  # fmt: skip
    book.now_ms += 20_000
    book.tick()
    book.now_ms -= 20_000
    return book


def test_a_ruling_closes_a_finding_and_is_shown(pause: Pause, ruleset: Ruleset) -> None:
    for outcome, expected in (
        (governance_pb2.Ruling.OUTCOME_UPHELD, C.VIOLATION),
        (governance_pb2.Ruling.OUTCOME_DISMISSED, C.COMPLIANT),
        (governance_pb2.Ruling.OUTCOME_REMEDIED, C.COMPLIANT),
    ):
        party = party_of(_rule(pause, ruleset, outcome), "borealis")
        assert party.conclusion is expected
        assert [r.ruling is not None for r in party.findings] == [True]
        assert party.open_findings == ()


def test_a_ruling_turns_an_anomaly_into_a_violation(ruleset: Ruleset) -> None:
    impossible = Work(power_w=70.0, tensor=0.0, utilisation=0.0, clock_mhz=9_000.0)
    pause = play(
        {"borealis/1": impossible}, terms={"obligations.training-cap.limit": '"1e22 FLOP"'}
    )
    assert verdict_on(pause, ruleset, "borealis").conclusion is C.ANOMALY
    ruled = _rule(pause, ruleset, governance_pb2.Ruling.OUTCOME_UPHELD)
    assert party_of(ruled, "borealis").conclusion is C.VIOLATION
    dismissed = _rule(pause, ruleset, governance_pb2.Ruling.OUTCOME_DISMISSED)
    assert party_of(dismissed, "borealis").conclusion is C.COMPLIANT


def _longer(book: Logbook, conduct: Mapping[str, Work | None], minutes: int) -> int:
    """Let a log go on, then past the grace; return when the conduct ended."""
    for _ in range(minutes):
        book.minute(conduct)
    end = book.now_ms
    for _ in range(4):
        book.minute({})
    return end


@pytest.mark.parametrize(
    ("before", "after", "check"),
    [
        (None, None, "coverage_silence"),
        (TRAINING, TRAINING, "training_cap"),
        (Work(tensor=1.5), Work(tensor=1.5), "impossible_values"),
        (Work(clock_mhz=4_000.0), Work(clock_mhz=4_000.0), "impossible_values"),
    ],
)
def test_a_ruling_excuses_nothing_that_came_after_what_it_was_about(
    ruleset: Ruleset, before: Work | None, after: Work | None, check: str
) -> None:
    terms = {
        "obligations.coverage-floor.cure": '"1 min"',
        "obligations.training-cap.limit": '"1e17 FLOP"'
        if check == "training_cap"
        else '"1e23 FLOP"',
        "stages.min_dwell": '"2 h"',
    }
    pause = play({}, minutes=0, after=0, terms=terms)
    book, start = pause.book, pause.book.now_ms
    _longer(book, {"borealis/0": before}, 4)
    first = Pause(book, (start, book.now_ms - 4 * MINUTE))
    assert check in {r.finding.check for r in verdict_on(first, ruleset, "borealis").findings}
    dismissed = _rule(first, ruleset, governance_pb2.Ruling.OUTCOME_DISMISSED)
    assert party_of(dismissed, "borealis").conclusion is C.COMPLIANT
    ruled = _ruled(first, ruleset, governance_pb2.Ruling.OUTCOME_DISMISSED)
    end = _longer(ruled, {"borealis/0": after}, 6)
    party = verdict_on(Pause(ruled, (start, end)), ruleset, "borealis")
    assert party.conclusion in {C.VIOLATION, C.ANOMALY}
    assert check in {r.finding.check for r in party.findings if r.awaits_ruling}


def test_a_ruling_lasts_while_nothing_is_added_to_what_it_was_about(ruleset: Ruleset) -> None:
    terms = {
        "obligations.coverage-floor.cure": '"1 min"',
        "obligations.training-cap.limit": '"1e23 FLOP"',
        "stages.min_dwell": '"2 h"',
    }
    pause = play({}, minutes=0, after=0, terms=terms)
    book, start = pause.book, pause.book.now_ms
    _longer(book, {"borealis/0": None}, 4)
    first = Pause(book, (start, book.now_ms - 4 * MINUTE))
    ruled = _ruled(first, ruleset, governance_pb2.Ruling.OUTCOME_DISMISSED)
    end = _longer(ruled, {}, 6)
    party = verdict_on(Pause(ruled, (start, end)), ruleset, "borealis")
    assert outcomes(party)["coverage-floor"] is Outcome.VIOLATED
    assert [r.ruling is not None for r in party.findings] == [True]
    assert party.conclusion is C.COMPLIANT
    assert [line for line in party.why if "dismissed" in line and "coverage-floor" in line]


def test_finding_ids_do_not_change_when_the_log_goes_on(pause: Pause, ruleset: Ruleset) -> None:
    first = audit(pause.book, pause.in_force, ruleset)
    longer = pause.book.copy()
    longer.minute({"borealis": TRAINING, "cygnus": None})
    second = audit(longer, pause.in_force, ruleset)

    def ids(verdict: Verdict) -> list[list[str]]:
        return [[ruled.finding.id for ruled in party.findings] for party in verdict.parties]

    assert ids(first) == ids(second)


# ------------------------------------------------------------------------------------------ the commands


def _speak(place: Path, who: str, *words: str) -> Result:
    common = ["--key", f"{place}/{who}.key", "--ledger", "127.0.0.1:1", "--mirror", f"{place}/log"]
    return CliRunner().invoke(main, [*words, *common, "--agreement", f"{place}/agreement.toml"])


def test_with_a_mirror_nobody_speaks_of_what_no_verdict_lists(
    pause: Pause, ruleset: Ruleset, tmp_path: Path
) -> None:
    book = _ruled(pause, ruleset, governance_pb2.Ruling.OUTCOME_UPHELD)
    book.serve(tmp_path / "log")
    (tmp_path / "agreement.toml").write_text(book.text)
    for name in ("borealis", "judge-tanaka"):
        write_signing_key(tmp_path / f"{name}.key", book.people[name].key)
    files = ["--agreement", f"{tmp_path}/agreement.toml", "--mirror", f"{tmp_path}/log"]
    shown = CliRunner().invoke(main, ["agreement", "state", *files, "-o", "json"])
    state = json.loads(shown.stdout)
    (listed,) = state["findings"]
    rule = ["finding", "rule", "--outcome", "upheld", "--reason", "r", "--party"]
    known = ["--finding", listed["id"], "--verdict", listed["verdicts"][0]]
    for words, who, reason in (
        ([*rule, "borealis", "--finding", "typo", *known[2:]], "judge-tanaka", "UNKNOWN_FINDING"),
        ([*rule, "aurora", *known], "judge-tanaka", "UNKNOWN_FINDING"),
        ([*rule, "borealis", *known[:3], "00" * 32], "judge-tanaka", "OTHER_VERDICT"),
        (["finding", "reply", "--text", "t", "--finding", "x", *known[2:]], "borealis", "UNKNOWN"),
        (
            [*rule, "borealis", *known],
            "judge-tanaka",
            "UNAVAILABLE",
        ),  # no ledger listens: it was sent
        (["finding", "reply", "--text", "t", *known], "borealis", "UNAVAILABLE"),
    ):
        result = _speak(tmp_path, who, *words)
        assert result.exit_code == 4
        assert reason in result.output
