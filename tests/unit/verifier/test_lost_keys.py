"""Keys that were lost or stolen and that somebody else replaced, as an auditor hears them."""

from dataclasses import replace

import pytest
from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.author import Author
from statements.rotation import recovery
from statements.signing import SigningKey
from tests.unit.verifier.auditing import audit, found, party_of
from tests.unit.verifier.logbook import IDLE, MINUTE, T0, Logbook, NodeSpeaker, Speaker, play
from tests.unit.verifier.test_key_lives import _resume, _revoke, _rotate
from verifier.checks.interface import Severity
from verifier.evidence.gather import Evidence
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion

AURORA, SAVIOUR = "aurora", "aurora/recovery"


@pytest.fixture
def book() -> Logbook:
    book = Logbook.begin()
    book.enrol(AURORA, "aurora/0")
    return book


def _faults(evidence: Evidence) -> list[tuple[str, int]]:
    return [(fault.reason, fault.index) for fault in evidence.faults]


def _heard(evidence: Evidence) -> set[tuple[str, int]]:
    return {(said.name, said.index) for said in evidence.said}


def _author(book: Logbook, who: str) -> bytes:
    """Return the author that a person is, whatever key it has by now."""
    speaker = book.people.get(who) or book.nodes[who]
    return speaker.author.author if speaker.author is not None else speaker.key.key_id


def replaced(book: Logbook, by: str, who: str, new: SigningKey) -> int:
    """Let somebody say that somebody else goes on under a new key."""
    return book.say(by, recovery(new, _author(book, who), book.pins.digest))


def recovered(book: Logbook, by: str, who: str) -> int:
    """Replace somebody's key, and let it go on under the new one; return the index of what did it."""
    new = SigningKey.generate()
    speaker = book.people.get(who) or book.nodes[who]
    if speaker.author is None:
        book.open(speaker)
    index = replaced(book, by, who, new)
    _resume(book, speaker, new)
    return index


def _fact(book: Logbook, value: float = 16.0) -> Message:
    return governance_pb2.Fact(
        agreement=book.pins.digest, indicator="task_horizon", value=value, source="s"
    )


def test_whose_key_was_lost_goes_on_under_its_name(book: Logbook) -> None:
    recovered(book, SAVIOUR, AURORA)
    accession = governance_pb2.Accession(agreement=book.pins.digest, party=AURORA)
    index = book.say(AURORA, accession)
    recovered(book, "meridian/recovery", "meridian")
    fact = book.say("meridian", _fact(book))
    evidence = book.evidence()
    assert {(AURORA, index), ("meridian", fact)} <= _heard(evidence)
    assert (evidence.faults, evidence.chains.gaps, evidence.chains.forks) == ((), (), ())
    assert [one.author for one in evidence.replacements] == [
        _author(book, AURORA),
        _author(book, "meridian"),
    ]


def test_what_a_thief_says_afterwards_is_nobody_s_word_and_the_log_is_at_fault(
    book: Logbook,
) -> None:
    who = book.people["meridian"]
    book.open(who)
    thief = replace(who)
    recovered(book, "meridian/recovery", "meridian")
    after = book.log(book.sign(thief, _fact(book, 99.0)))
    mine = book.say("meridian", _fact(book))
    evidence = book.evidence()
    assert _faults(evidence) == [("REVOKED_KEY", after)]
    assert {index for name, index in _heard(evidence) if name == "meridian"} >= {mine}
    assert ("meridian", after) not in _heard(evidence)


def test_a_thief_who_went_on_under_a_key_of_its_own_ends_with_it(book: Logbook) -> None:
    who, thiefs, new = book.people["meridian"], SigningKey.generate(), SigningKey.generate()
    book.open(who)
    _rotate(book, who, thiefs)
    _resume(book, who, thiefs)
    thief = replace(who)
    false = book.say("meridian", _fact(book, 99.0))
    replaced(book, "meridian/recovery", "meridian", new)
    _resume(book, who, new)
    after = book.log(book.sign(thief, _fact(book, 99.0)))
    evidence = book.evidence()
    assert ("meridian", false) in _heard(evidence), "what was said before stands: nobody can tell"
    assert _faults(evidence) == [("REVOKED_KEY", after)]


def test_a_fork_by_a_key_that_was_replaced_has_no_effect(book: Logbook) -> None:
    party = book.people[AURORA]
    book.say(AURORA, governance_pb2.Accession(agreement=book.pins.digest, party=AURORA))
    thief = replace(party)
    first = book.say(AURORA, governance_pb2.Reply(text="one"))
    recovered(book, SAVIOUR, AURORA)
    second = book.log(book.sign(thief, governance_pb2.Reply(text="two")))
    evidence = book.evidence()
    assert evidence.chains.forks == ()
    assert _faults(evidence) == [("REVOKED_KEY", second)]
    assert (AURORA, first) in _heard(evidence)


@pytest.mark.parametrize(
    ("who", "author"),
    [
        ("borealis/recovery", AURORA),
        ("borealis", AURORA),
        ("borealis", "aurora/0"),
        (AURORA, AURORA),
        ("meridian", AURORA),
        ("ledger", AURORA),
        (SAVIOUR, "ledger"),
        (SAVIOUR, "aurora/0"),
        (SAVIOUR, SAVIOUR),
    ],
)
def test_nobody_else_takes_an_author_over_even_if_the_ledger_logs_it(
    book: Logbook, who: str, author: str
) -> None:
    index = replaced(book, who, author, SigningKey.generate())
    evidence = book.evidence()
    assert _faults(evidence) == [("BAD_ROTATION", index)]
    assert evidence.replacements == ()


def test_a_recovery_under_another_agreement_or_to_a_key_that_did_not_agree_does_nothing(
    book: Logbook,
) -> None:
    new = SigningKey.generate()
    message = recovery(new, _author(book, AURORA), bytes(32))
    mute = identity_pb2.Rotation(new_key=new.spki, author=_author(book, AURORA))
    indices = [book.say(SAVIOUR, message), book.say(SAVIOUR, mute)]
    accession = governance_pb2.Accession(agreement=book.pins.digest, party=AURORA)
    after = book.say(AURORA, accession)
    evidence = book.evidence()
    assert [index for _, index in _faults(evidence)] == indices
    assert (AURORA, after) in _heard(evidence)


def test_what_else_a_recovery_key_says_is_nothing_and_not_to_be_logged(book: Logbook) -> None:
    index = book.say(SAVIOUR, governance_pb2.Withdrawal(agreement=book.pins.digest, party=AURORA))
    evidence = book.evidence()
    assert _faults(evidence) == [("WRONG_AUTHOR", index)]
    assert not [said for said in evidence.said if said.index == index]


def test_a_key_that_was_lost_before_it_ever_spoke_never_speaks(book: Logbook) -> None:
    replaced(book, "meridian/recovery", "meridian", SigningKey.generate())
    book.open(book.people["meridian"])
    assert _faults(book.evidence()) == [("REVOKED_KEY", len(book.records) - 1)]


def test_a_node_whose_key_its_party_replaced_is_the_same_node_and_owes_its_chips_once(
    book: Logbook,
) -> None:
    node: NodeSpeaker = book.nodes["aurora/0"]
    _revoke(book, AURORA, node.key.key_id)
    silent = book.log(book.window(replace(node), T0, IDLE))
    recovered(book, AURORA, "aurora/0")
    book.show(node, *(f"aurora/0-{at}" for at in range(8)))
    window = book.log(book.window(node, T0, IDLE))
    evidence = book.evidence()
    assert _faults(evidence) == [("REVOKED_KEY", silent)]
    assert [(one.node_id, one.chips) for one in evidence.nodes] == [(_author(book, "aurora/0"), 8)]
    row = evidence.records.index.tolist().index(window)
    assert evidence.chains.authentic[row]


def test_a_quorum_of_the_panel_takes_an_author_back_and_ends_the_recovery_key(
    book: Logbook,
) -> None:
    recovered(book, SAVIOUR, AURORA)
    thief = replace(book.people[AURORA])
    given = SigningKey.generate()
    replaced(book, "judge-adeyemi", AURORA, given)
    book.log(book.sign(thief, governance_pb2.Reply(text="one vote ends nobody")))
    assert book.evidence().faults == ()
    replaced(book, "judge-tanaka", AURORA, given)
    _resume(book, book.people[AURORA], given)
    late = [
        book.log(book.sign(thief, governance_pb2.Reply(text="late"))),
        replaced(book, SAVIOUR, AURORA, SigningKey.generate()),
    ]
    accession = governance_pb2.Accession(agreement=book.pins.digest, party=AURORA)
    mine = book.say(AURORA, accession)
    evidence = book.evidence()
    assert _faults(evidence) == [("REVOKED_KEY", index) for index in late]
    assert (AURORA, mine) in _heard(evidence)


def test_a_vote_at_a_place_that_was_taken_is_none(book: Logbook) -> None:
    given = SigningKey.generate()
    judge = book.people["judge-tanaka"]
    book.open(judge)
    thief = replace(judge)
    book.say("judge-tanaka", governance_pb2.Ruling(finding="F", party=AURORA))
    book.log(book.sign(thief, recovery(given, _author(book, AURORA), book.pins.digest)))
    replaced(book, "judge-adeyemi", AURORA, given)
    assert book.evidence().replacements == ()


# ---------------------------------------------------------------------------------------------- findings


def _severities(book: Logbook, period: tuple[int, int], ruleset: Ruleset) -> list[Severity]:
    party = party_of(audit(book, period, ruleset), AURORA)
    return [finding.severity for finding in found(party, "replaced_keys")]


def test_one_recovery_is_told_and_the_next_is_doubt_until_the_panel_has_ended_it(
    ruleset: Ruleset,
) -> None:
    pause = play({}, minutes=6, after=4)
    book, first = pause.book, pause.book.now_ms
    recovered(book, SAVIOUR, AURORA)
    for _ in range(6):
        book.minute({})
    second = book.now_ms
    recovered(book, SAVIOUR, AURORA)
    for _ in range(8):
        book.minute({})
    assert _severities(book, pause.in_force, ruleset) == []
    assert _severities(book, (first - MINUTE, first + MINUTE), ruleset) == [Severity.NOTE]
    assert _severities(book, (second - MINUTE, second + MINUTE), ruleset) == [Severity.DOUBT]
    after = second + MINUTE, second + 4 * MINUTE
    assert _severities(book, after, ruleset) == []
    once = party_of(audit(book, (first - MINUTE, first + MINUTE), ruleset), AURORA)
    twice = party_of(audit(book, (second - MINUTE, second + MINUTE), ruleset), AURORA)
    assert (once.conclusion, twice.conclusion) == (Conclusion.COMPLIANT, Conclusion.UNRESOLVED)
    other = party_of(audit(book, (second - MINUTE, second + MINUTE), ruleset), "borealis")
    assert other.conclusion is Conclusion.COMPLIANT


def test_a_key_that_contradicted_itself_is_in_doubt_until_it_is_replaced(ruleset: Ruleset) -> None:
    pause = play({}, minutes=6, after=4)
    book, party = pause.book, pause.book.people[AURORA]
    clone = replace(party)
    book.say(AURORA, governance_pb2.Reply(finding="F", text="one"))
    book.log(book.sign(clone, governance_pb2.Reply(finding="F", text="two")))
    for _ in range(4):
        book.minute({})
    at = book.now_ms
    recovered(book, SAVIOUR, AURORA)
    for _ in range(8):
        book.minute({})

    def forks(period: tuple[int, int]) -> list[Severity]:
        verdict = party_of(audit(book, period, ruleset), AURORA)
        return [finding.severity for finding in found(verdict, "chain_fork")]

    assert forks((at - MINUTE, at + MINUTE)) == [Severity.DOUBT]
    assert forks((at + MINUTE, at + 4 * MINUTE)) == []


def test_a_recovery_key_that_contradicts_itself_is_its_party_s_fork(ruleset: Ruleset) -> None:
    pause = play({}, minutes=6, after=4)
    book = pause.book
    book.open(book.people[SAVIOUR])
    thief = replace(book.people[SAVIOUR])
    at = book.now_ms
    replaced(book, SAVIOUR, AURORA, SigningKey.generate())
    message = recovery(SigningKey.generate(), _author(book, AURORA), book.pins.digest)
    book.log(book.sign(thief, message))
    for _ in range(6):
        book.minute({})
    party = party_of(audit(book, (at - MINUTE, at + MINUTE), ruleset), AURORA)
    (fork,) = found(party, "chain_fork")
    assert (fork.subject, fork.severity) == ("recovery key of party aurora", Severity.BREACH)
    assert len(book.evidence().replacements) == 1, "the first logged is what counts"


def test_a_signer_s_replaced_key_is_told_with_the_log(ruleset: Ruleset) -> None:
    pause = play({}, minutes=6, after=4)
    at = pause.book.now_ms
    recovered(pause.book, "auditor/recovery", "auditor")
    for _ in range(6):
        pause.book.minute({})
    verdict = audit(pause.book, (at - MINUTE, at + MINUTE), ruleset)
    (told,) = [one for one in verdict.ledger_findings if one.check == "signers"]
    assert (told.subject, told.severity) == ("verifiers auditor", Severity.NOTE)
    assert party_of(verdict, AURORA).conclusion is Conclusion.COMPLIANT


def test_the_author_of_a_place_is_its_first_key_s_digest(book: Logbook) -> None:
    """The new key's own digest names nobody."""
    new = SigningKey.generate()
    replaced(book, SAVIOUR, AURORA, new)
    stranger = Speaker(new, Author.opening(new, book.draw(16)))
    index = book.log(book.sign(stranger, book._opening(new, 0)))
    assert _faults(book.evidence()) == [("UNKNOWN_KEY", index)]
