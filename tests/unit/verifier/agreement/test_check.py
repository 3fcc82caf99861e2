import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from statements.reading_keys import pinned_as
from statements.sealing import ReadingKey
from tlog.cosignature import CosigningKey
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.agreement.check import Level, Remark, check_agreement
from verifier.agreement.errors import AgreementError
from verifier.agreement.parse import parse_agreement
from verifier.agreement.verifiability import REFERENCE_CHIP, smallest_cap


@pytest.fixture(scope="module")
def chips() -> ChipTable:
    root = Path(__file__).parents[4]
    return read_chip_table((root / "policies" / "reference" / "chips.toml").read_bytes())


def remarks(text: str, chips: ChipTable, *changes: tuple[str, str]) -> dict[str, Remark]:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    found = check_agreement(parse_agreement(text.encode()), chips)
    return {remark.reason: remark for remark in found}


def test_the_worked_example_is_not_refused(text: str, chips: ChipTable) -> None:
    assert all(remark.level is not Level.ERROR for remark in remarks(text, chips).values())


def test_the_worked_examples_witnesses_can_neither_split_the_log_nor_one_of_them_stop_it(
    example: str, chips: ChipTable
) -> None:
    found = remarks(example, chips)
    assert all(remark.level is not Level.ERROR for remark in found.values())
    assert not {"QUORUM_NONE", "QUORUMS_APART", "WITNESS_WITHOUT_ADDRESS"} & set(found)
    policy = parse_agreement(example.encode()).pins.policy
    assert [one.name for one in policy.witnesses] == ["aurora", "borealis", "cygnus", "meridian"]
    assert policy.is_met({"aurora", "borealis", "meridian"})
    assert not policy.is_met({"aurora", "borealis"})


def test_quorum_none_is_said_loudly(text: str, chips: ChipTable) -> None:
    remark = remarks(text, chips)["QUORUM_NONE"]
    assert remark.level is Level.WARNING
    assert "no witness" in remark.message


def test_a_cap_that_no_evidence_could_show_kept_is_refused(text: str, chips: ChipTable) -> None:
    low = ('limit = "3e25 FLOP"', 'limit = "1e24 FLOP"')
    refused = remarks(text, chips, low)["CAP_NOT_VERIFIABLE"]
    assert refused.level is Level.ERROR
    assert refused.place == "obligations.training-cap.limit"
    aspired = remarks(text, chips, low, ('"1e24 FLOP"', '"1e24 FLOP"\naspirational = true'))
    assert "CAP_NOT_VERIFIABLE" not in aspired
    assert "aspirational" in aspired["SMALLEST_CAP"].message


def test_meters_alone_verify_only_peak_times_time(text: str, chips: ChipTable) -> None:
    agreement = parse_agreement(text.replace('trust = "counters"', 'trust = "meters"').encode())
    chip = chips.lookup(REFERENCE_CHIP)
    least = smallest_cap(agreement, agreement.obligations[0], agreement.parties[0], chip)
    seconds = 30 * 86_400
    assert least.flop == pytest.approx(120_000 * seconds * chip.peak_flop_per_s)


def test_less_coverage_makes_smaller_caps_unverifiable(text: str, chips: ChipTable) -> None:
    chip = chips.lookup(REFERENCE_CHIP)
    least = []
    for floor in ("99 %", "95 %", "50 %", "0 %"):
        agreement = parse_agreement(text.replace('limit = "95 %"', f'limit = "{floor}"').encode())
        cap = smallest_cap(agreement, agreement.obligations[0], agreement.parties[0], chip)
        least.append(cap.flop)
    assert least == sorted(least)
    assert least[-1] == pytest.approx(cap.energy_only_flop)


def test_a_node_is_eight_chips(text: str, chips: ChipTable) -> None:
    whole = parse_agreement(text.encode())
    node = parse_agreement(text.replace('scope = "party"', 'scope = "node"').encode())
    chip = chips.lookup(REFERENCE_CHIP)
    party = smallest_cap(whole, whole.obligations[0], whole.parties[0], chip)
    one = smallest_cap(node, node.obligations[0], node.parties[0], chip)
    assert one.flop == pytest.approx(party.flop * 8 / 120_000)


@pytest.mark.parametrize(
    ("change", "reason", "level"),
    [
        (('id = "training-cap"', 'id = "training-cap"\nparties = ["cygnus"]'), "SINGLED_OUT", Level.WARNING),
        (("quorum = 2", "quorum = 1"), "MINORITY_QUORUM", Level.WARNING),
        (("signers = 2", "signers = 1"), "ONE_SIGNER", Level.WARNING),
        (("requires_rulings = true", "requires_rulings = false"), "LIFT_OVER_FINDINGS", Level.WARNING),
        (("indicator.sabotage_caught.value >= 99.0", "false"), "UNUSED_INDICATOR", Level.WARNING),
        (("{ parties = 3 }", "{ parties = 4 }"), "UNREACHABLE_TERMS", Level.ERROR),
        (("AXtgk/", "AXtgl/"), "BAD_VKEY", Level.ERROR),
        (('origin = "log.', 'origin = "other.'), "BAD_VKEY", Level.ERROR),
        (("declared_h100e", 'affiliates = ["judge-tanaka"]\ndeclared_h100e'), "AFFILIATED_JUDGE", Level.ERROR),
        (("declared_h100e", 'affiliates = ["meridian"]\ndeclared_h100e'), "AFFILIATED_SIGNER", Level.WARNING),
        (('stages = ["in_force"]', 'stages = ["armed"]'), "UNBOUNDED_CAP", Level.WARNING),
        (("version = 1", f'version = 1\nchip_table = "sha256:{"0" * 64}"'), "OTHER_CHIP_TABLE", Level.ERROR),
    ],
)  # fmt: skip
def test_what_parties_should_know_is_said(
    text: str, chips: ChipTable, change: tuple[str, str], reason: str, level: Level
) -> None:
    assert remarks(text, chips, change)[reason].level is level


def test_an_affiliate_with_a_declared_conflict_may_sit_on_the_panel(
    text: str, chips: ChipTable
) -> None:
    tied = ('id = "aurora"', 'id = "aurora"\naffiliates = ["judge-tanaka"]')
    conflict = (
        '\n[[panel.conflicts]]\nadjudicator = "judge-tanaka"\nparties = ["aurora"]\n\n[stages]'
    )
    assert "AFFILIATED_JUDGE" in remarks(text, chips, tied)
    assert "AFFILIATED_JUDGE" not in remarks(text, chips, tied, ("\n[stages]", conflict))


def test_without_a_verifier_the_docket_stays_empty_and_check_says_so(
    text: str, chips: ChipTable
) -> None:
    start, end = text.index("[[verifiers]]"), text.index("[[ledgers]]")
    assert "NO_VERIFIER" in remarks(text[:start] + text[end:], chips)


def witnessed(text: str, quorum: str, extra: str = "") -> str:
    """Return the agreement with three witnesses, of which ``quorum`` must cosign."""
    keys = [
        CosigningKey(f"{name}.example", Ed25519PrivateKey.from_private_bytes(name.encode() * 32))
        for name in "abc"
    ]
    lines = [f"witness {key.name[0]} {key.vkey} http://127.0.0.1:1/" for key in keys]
    policy = "\n".join([*lines, f"group q {quorum} a b c", "quorum q"])
    return text.replace('policy = """\nquorum none\n"""', f'policy = """\n{policy}\n"""\n{extra}')


def test_a_quorum_of_honest_overlap_is_accepted(text: str, chips: ChipTable) -> None:
    found = remarks(witnessed(text, "all"), chips)
    assert not {"QUORUM_NONE", "QUORUMS_APART", "TIME_OF_LIARS"} & set(found)


def test_a_quorum_whose_time_may_be_a_liars_is_pointed_out(text: str, chips: ChipTable) -> None:
    found = remarks(witnessed(text, "all", "fault_bound = 2"), chips)
    assert "QUORUMS_APART" not in found
    assert found["TIME_OF_LIARS"].level is Level.WARNING


@pytest.mark.parametrize(
    ("quorum", "extra"),
    [
        ("2", ""),
        ("all", "fault_bound = 3"),
        ("all", 'fault_bound = 2\nof_ledgers = ["a"]'),
    ],
)
def test_quorums_that_may_meet_in_liars_alone_refuse_an_agreement(
    text: str, chips: ChipTable, quorum: str, extra: str
) -> None:
    remark = remarks(witnessed(text, quorum, extra), chips)["QUORUMS_APART"]
    assert remark.level is Level.ERROR
    assert "share nobody honest" in remark.message


def test_a_witness_that_nobody_can_ask_is_pointed_out(text: str, chips: ChipTable) -> None:
    silent = witnessed(text, "all").replace(" http://127.0.0.1:1/", "")
    assert "WITNESS_WITHOUT_ADDRESS" in remarks(silent, chips)


def test_who_may_read_what_is_sealed_is_said_and_a_lone_reader_warned_of(
    text: str, chips: ChipTable
) -> None:
    key = pinned_as(ReadingKey.generate().public)
    lone = (
        f'\n[[disclosure.classes]]\nid = "inspectors"\nreaders = [{{ id = "aisi", key = "{key}" }}]'
    )
    change = ('summaries = "public"', f'summaries = "inspectors"{lone}')
    found = remarks(text, chips, change)
    assert "aisi alone" in found["SEALED"].message
    assert found["ONE_READER"].level is Level.WARNING
    assert not {"SEALED", "ONE_READER"} & remarks(text, chips).keys()


def _without_recovery(text: str, *names: str) -> str:
    """Return the agreement in which some, or all, name no recovery key."""
    pattern = r'(id = "(?:{})"\n(?:name = .*\n)?key = .*\n)recovery = .*\n'
    return re.sub(pattern.format("|".join(names) or ".*"), r"\1", text)


def test_whose_key_only_a_ruling_replaces_is_told(text: str, chips: ChipTable) -> None:
    assert "NO_RECOVERY_KEY" not in remarks(text, chips)
    bare = remarks(_without_recovery(text, "aurora", "meridian"), chips)["NO_RECOVERY_KEY"]
    assert bare.level is Level.NOTE
    assert "aurora, meridian" in bare.message


def test_a_key_that_nobody_could_replace_is_warned_of(text: str, chips: ChipTable) -> None:
    found = remarks(_without_recovery(text), chips, ("quorum = 2", "quorum = 3"))
    warning = found["IRREPLACEABLE_KEY"]
    assert warning.level is Level.WARNING
    assert warning.place.startswith("adjudicators."), "nobody rules on its own key"
    assert "auditor" in found["NO_RECOVERY_KEY"].message


def test_a_recovery_key_that_speaks_for_something_else_refuses_the_agreement(text: str) -> None:
    keys = re.findall(r'"(sha256:[0-9a-f]{64})"', text)
    shared = text.replace(keys[1], keys[0])
    with pytest.raises(AgreementError, match="share one key"):
        parse_agreement(shared.encode())
