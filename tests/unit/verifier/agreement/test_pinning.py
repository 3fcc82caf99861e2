import pytest

from verifier.agreement.errors import AgreementError
from verifier.agreement.membership import AtLeast, WithParty
from verifier.agreement.model import Agreement, Stage
from verifier.agreement.parse import parse_agreement
from verifier.agreement.pinning import LedgerEntry, pin

REHEARSAL: LedgerEntry = {
    "origin": "rehearsal.example/log",
    "vkey": "rehearsal.example/log+01020304+AQ==",
    "key": "sha256:" + "ab" * 32,
}


def read(written: str) -> Agreement:
    return parse_agreement(written.encode())


def test_pinning_nothing_keeps_the_meaning_and_is_stable(text: str) -> None:
    once = pin(text, keys={}, ledgers=[], overrides={}, rehearsal=False)
    assert pin(once, keys={}, ledgers=[], overrides={}, rehearsal=False) == once
    given, pinned = read(text), read(once)
    assert pinned.parties == given.parties
    assert (pinned.trigger, pinned.lift) == (given.trigger, given.lift)
    assert pinned.obligations == given.obligations
    assert pinned.durations == given.durations


def test_keys_logs_and_terms_are_filled_in(text: str) -> None:
    mine = "sha256:" + "cd" * 32
    written = pin(
        text,
        keys={"parties": {"aurora": mine}, "evaluators": {"meridian": "sha256:" + "ef" * 32}},
        ledgers=[REHEARSAL],
        overrides={
            "stages.notice": "60 s",
            "parties.aurora.declared_h100e": "512 H100e",
            "obligations.training-cap.limit": "2e21 FLOP",
            "obligations.training-cap.aspirational": "true",
            "obligations.coverage-floor.stages": '["in_force"]',
        },
        rehearsal=True,
    )
    agreement = read(written)
    assert agreement.parties[0].key == bytes.fromhex("cd" * 32)
    assert agreement.parties[0].declared_h100e == 512
    assert agreement.durations.notice_ms == 60_000
    assert agreement.obligations[0].aspirational
    assert agreement.obligations[1].stages == {Stage.IN_FORCE}
    assert [ledger.origin for ledger in agreement.pins.ledgers] == [REHEARSAL["origin"]]
    assert agreement.rehearsal


def test_a_renamed_party_is_renamed_in_everyones_terms(text: str) -> None:
    renames = {"parties.aurora.id": "zenith", "parties.aurora.name": "Zenith"}
    agreement = read(pin(text, keys={}, ledgers=[], overrides=renames, rehearsal=False))
    assert agreement.parties[0].id == "zenith"
    assert agreement.parties[1].accedes_if == AtLeast(2, (WithParty("zenith"), WithParty("cygnus")))


@pytest.mark.parametrize("place", ["stage.notice", "parties.nobody.name", "agreement.title.x"])
def test_a_place_that_does_not_exist_is_refused(text: str, place: str) -> None:
    with pytest.raises(AgreementError) as refused:
        pin(text, keys={}, ledgers=[], overrides={place: "x"}, rehearsal=False)
    assert refused.value.reason == "UNKNOWN_PLACE"


def test_a_key_of_nobody_is_refused(text: str) -> None:
    with pytest.raises(AgreementError, match="no row 'nobody'"):
        pin(text, keys={"parties": {"nobody": "x"}}, ledgers=[], overrides={}, rehearsal=False)


def test_a_real_agreement_refuses_a_rehearsals_log(text: str) -> None:
    with pytest.raises(AgreementError) as refused:
        pin(text, keys={}, ledgers=[REHEARSAL], overrides={}, rehearsal=False)
    assert refused.value.reason == "REHEARSAL_ORIGIN"


def test_a_misspelt_override_is_refused(text: str) -> None:
    with pytest.raises(AgreementError, match="did you mean 'notice'"):
        pin(text, keys={}, ledgers=[], overrides={"stages.notise": "1 s"}, rehearsal=False)


def test_any_text_survives_writing(text: str) -> None:
    title, policy = 'quotes " and \\ and é', "# a note\nquorum\tnone\n"
    overrides = {"agreement.title": title, "witnesses.policy": policy}
    written = read(pin(text, keys={}, ledgers=[], overrides=overrides, rehearsal=False))
    assert (written.title, written.pins.witness_policy) == (title, policy)


def test_who_gets_another_key_keeps_no_recovery_key_of_the_one_before(text: str) -> None:
    mine, other = "sha256:" + "cd" * 32, "sha256:" + "ce" * 32
    keys = {"parties": {"aurora": mine}}
    bare = read(pin(text, keys=keys, ledgers=[], overrides={}, rehearsal=False)).pins
    assert bare.by_key[bytes.fromhex("cd" * 32)].recovery is None
    given = pin(
        text,
        keys=keys,
        ledgers=[],
        overrides={},
        rehearsal=False,
        recovery_keys={"parties": {"aurora": other}},
    )
    assert read(given).pins.by_key[bytes.fromhex("cd" * 32)].recovery == bytes.fromhex("ce" * 32)
