import pytest

from verifier.agreement.errors import AgreementError
from verifier.agreement.model import Measure, Scope, Stage, Trust
from verifier.agreement.parse import parse_agreement
from verifier.agreement.units import Dimension, parse_duration_ms, parse_quantity

WITNESS = "witness w w.example+188d5013+BMhTrQ8M0rYZrqks7sT9VqJNZJnVhM55JX5Fz9gTm2Cn"
"""A line of a policy, with a key that was made for it."""


def refusal(text: str, old: str, new: str) -> AgreementError:
    assert old in text
    with pytest.raises(AgreementError) as refused:
        parse_agreement(text.replace(old, new, 1).encode())
    return refused.value


def test_the_worked_example_means_what_it_says(text: str) -> None:
    agreement = parse_agreement(text.encode())
    assert [party.id for party in agreement.parties] == ["aurora", "borealis", "cygnus"]
    assert agreement.parties[0].declared_h100e == 120_000
    assert agreement.durations.in_force_ms == 30 * 86_400_000
    cap, floor = agreement.obligations
    assert (cap.measure, cap.scope, cap.trust) == (
        Measure.TRAINING_FLOP,
        Scope.PARTY,
        Trust.COUNTERS,
    )
    assert cap.limit == 3e25
    assert floor.limit == pytest.approx(0.95)
    assert floor.cure_ms == 2 * 86_400_000
    assert agreement.duties(Stage.WINDING_DOWN, "aurora") == (floor,)
    assert (len(agreement.panel.members), agreement.panel.quorum) == (3, 2)
    assert all(indicator.signers == 2 for indicator in agreement.indicators)


@pytest.mark.parametrize(
    ("old", "new", "reason", "words"),
    [
        ('notice = "7 d"', 'notise = "7 d"', "UNKNOWN_KEY", "stages.notise: there is no such key; did you mean"),
        ("jurisdiction = \"US\"", "juristiction = \"US\"", "UNKNOWN_KEY", "parties[0].juristiction"),
        ("[panel]", "[pannel]", "UNKNOWN_KEY", "did you mean 'panel'"),
        ("{ parties = 3 }", "{ partys = 3 }", "UNKNOWN_KEY", "did you mean 'part"),
        ("{ parties = 3 }", "{ parties = 3, jurisdictions = 2 }", "BAD_TERMS", "one key each"),
        ("count = 2,", "count = 9,", "IMPOSSIBLE_TERMS", "9 of 3"),
        ('limit = "3e25 FLOP"', 'limit = "3e25 FLOPs"', "UNKNOWN_UNIT", "did you mean 'FLOP'"),
        ('limit = "3e25 FLOP"', 'limit = "30 d"', "WRONG_DIMENSION", "obligations.training-cap.limit"),
        ('limit = "3e25 FLOP"', "limit = 3e25", "SCHEMA", "obligations[0].limit"),
        ('limit = "3e25 FLOP"', 'limit = "3e25"', "NO_UNIT", 'write "1e21 FLOP"'),
        ('limit = "95 %"', 'limit = "950 %"', "OUT_OF_RANGE", "at most 100 %"),
        ('notice = "7 d"', 'notice = "0 d"', "OUT_OF_RANGE", "stages.notice"),
        ('notice = "7 d"', 'notice = "7"', "NO_UNIT", "stages.notice"),
        ('min_dwell = "30 d"', 'min_dwell = "9999 d"', "OUT_OF_RANGE", "five years"),
        ("quorum = 2", "quorum = 4", "IMPOSSIBLE_QUORUM", "only 3 of 3"),
        ("quorum = 2", "quorum = 0", "SCHEMA", "panel.quorum"),
        ("signers = 2", "signers = 4", "IMPOSSIBLE_SIGNERS", "only 3 evaluators"),
        ('"judge-tanaka"]', '"judge-nobody"]', "UNKNOWN_NAME", "adjudicators"),
        ('"judge-tanaka"]', '"judge-adeyemi"]', "DUPLICATE_ID", "judge-adeyemi"),
        ('{ party = "aurora" }', '{ party = "arora" }', "UNKNOWN_NAME", "'arora'"),
        ('{ jurisdiction = "US" }', '{ jurisdiction = "FR" }', "UNKNOWN_NAME", "'FR'"),
        ('evaluators = ["meridian",', 'evaluators = ["nobody",', "UNKNOWN_NAME", "task_horizon"),
        ("indicator.sabotage_caught", "indicator.sabotage", "UNKNOWN_INDICATOR", "lift.condition"),
        ('length = "60 s"', 'length = "60 parsecs"', "BAD_DURATION", "windows"),
        ('origin = "log', 'origin = "rehearsal.log', "REHEARSAL_ORIGIN", "rehearsal = true"),
        ("version = 1", "version = '1", "NOT_TOML", "not TOML"),
        ("aurora", "Aurora", "SCHEMA", "parties[0].id"),
        ("Aurora Laboratory", "Aurora\\u001b[2J", "SCHEMA", "parties[0].name"),
        ("# Nobody", "# \u202e Nobody", "HIDDEN_CHARACTER", "the character U+202E"),
        ("quorum none", "group g 2 w\nquorum g", "BAD_POLICY", "witnesses.policy: line 1"),
        ("quorum none", f"{WITNESS}\ngroup g 2 w\nquorum g", "IMPOSSIBLE_QUORUM", "asks for 2 of 1"),
        ("quorum none", "witness w w+1+AA\nquorum w", "BAD_POLICY", "witnesses.policy: line"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(
    text: str, old: str, new: str, reason: str, words: str
) -> None:
    body = text[text.index("[agreement]") :]
    error = refusal(body, old, new)
    assert error.reason == reason
    assert words in str(error)


def test_a_conflict_of_interest_can_make_a_quorum_impossible(text: str) -> None:
    conflicts = "".join(
        f'\n[[panel.conflicts]]\nadjudicator = "{judge}"\nparties = ["cygnus"]\n'
        for judge in ("judge-tanaka", "judge-adeyemi")
    )
    error = refusal(text, "\n[stages]", f"{conflicts}\n[stages]")
    assert error.reason == "IMPOSSIBLE_QUORUM"
    assert "cygnus" in str(error)


def test_nesting_without_end_is_refused_not_a_crash(text: str) -> None:
    deep = "{ all_of = [" * 2000 + "{ parties = 1 }" + "] }" * 2000
    start = text.index("{ all_of")
    end = text.index("\n", start)
    with pytest.raises(AgreementError):
        parse_agreement((text[:start] + deep + text[end:]).encode())


def test_units_come_in_as_one_unit_a_dimension() -> None:
    assert parse_quantity("1.5 EFLOP", Dimension.COMPUTE) == 1.5e18
    assert parse_quantity("16 H100e", Dimension.CHIPS) == 16
    assert parse_duration_ms("60 s") == 60_000
    assert parse_duration_ms("14d") == 14 * 86_400_000
