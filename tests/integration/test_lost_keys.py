"""Keys that are lost or stolen, end to end: their authors go on, thieves are refused, and no chip is forgotten.

Agent, ledger and auditor are real. Chips are replayed; the clock is scaled.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.message import Message

from attestor.window import align
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.author import EPOCH_LENGTH, NOTHING, Author, Statement
from statements.ledger_client import Receipt, Refusal
from statements.rotation import recovery, rotation
from statements.signing import SigningKey
from tests.integration.stage import AT, CHIPS, Stage, covered, minutes, on_chains
from tests.unit.attestor.conftest import record
from tests.unit.verifier.logbook import MINUTE
from verifier.checks.interface import Severity
from verifier.ruleset import Ruleset, own_ruleset
from verifier.verdict import PartyVerdict

__all__ = ["record"]  # a fixture of the agent's tests

SALT = bytes(16)
AURORA, SAVIOUR = "aurora", "aurora/recovery"


@pytest.fixture(scope="module")
def ruleset() -> Ruleset:
    return own_ruleset()


@pytest.fixture
def stage(tmp_path: Path, record: Callable[..., Path]) -> Iterator[Stage]:
    stage = Stage(tmp_path, record(chips=2, seconds=1500))
    yield stage
    stage.close()


class Person:
    """Somebody with a key, who speaks at the stage's ledger in an epoch of its own."""

    def __init__(self, stage: Stage, key: SigningKey, author: bytes | None = None) -> None:
        self._stage = stage
        self.author = author or key.key_id
        heads = stage.author(self.author)
        newest = max(heads, key=lambda head: head.index).statement_id if heads else NOTHING
        self.place = Author.opening(key, stage.book.draw(EPOCH_LENGTH), newest, author)
        self._unsaid: list[Statement] = [self._sign(stage.opening(key))]

    def _sign(self, message: Message) -> Statement:
        now_ms = self._stage.hours.now_ms()
        said, self.place = self.place.say(message, now_ms, now_ms, salt=SALT)
        return said

    def say(self, message: Message) -> str:
        """Say something; return why it was refused, nothing when it was logged."""
        answers: Sequence[Receipt | Refusal] = self._stage.take(
            [*self._unsaid, self._sign(message)]
        )
        self._unsaid = []
        return "" if isinstance(answers[-1], Receipt) else answers[-1].reason


def _person(stage: Stage, name: str) -> Person:
    return Person(stage, stage.book.people[name].key)


def _gives(stage: Stage, author: bytes, key: SigningKey) -> identity_pb2.Rotation:
    return recovery(key, author, stage.book.pins.digest)


def _party_goes_on(stage: Stage, saviour: Person) -> None:
    """Let the party lose its key, and go on under another."""
    new, author = SigningKey.generate(), stage.book.people[AURORA].key.key_id
    assert saviour.say(_gives(stage, author, new)) == ""
    newest = stage.party.previous
    stage.party = Author.opening(new, stage.book.draw(EPOCH_LENGTH), newest, author)
    stage.party_says(stage.opening(new))


def _node_goes_on(stage: Stage) -> None:
    """Let the party give its node another key."""
    new = SigningKey.generate()
    stage.party_says(_gives(stage, stage.first.key_id, new))
    stage.key = new


def _told(party: PartyVerdict) -> list[tuple[str, Severity]]:
    return [
        (ruled.finding.subject, ruled.finding.severity)
        for ruled in party.findings
        if ruled.finding.check == "replaced_keys"
    ]


def test_a_party_that_lost_its_key_goes_on_and_all_that_it_enrolled_with_it(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 2 * MINUTE)
    _party_goes_on(stage, _person(stage, SAVIOUR))
    agreement = stage.book.pins.digest
    stage.party_says(governance_pb2.Accession(agreement=agreement, party=AURORA))
    start = align(stage.hours.now_ms(), MINUTE) + MINUTE
    stage.run(start, start + 2 * MINUTE)
    party = stage.verdict(AT, start + 2 * MINUTE, ruleset)
    evidence = stage.evidence()
    assert (evidence.chains.forks, evidence.chains.gaps, evidence.faults) == ((), (), ())
    assert on_chains(party) == []
    assert _told(party) == [("party aurora", Severity.NOTE)]
    assert stage.heard() == [*minutes(0, 1), start, start + MINUTE]
    names = [said.name for said in evidence.said if said.header.key_id == stage.party.key.key_id]
    assert names == [AURORA, AURORA], "the same party"


def test_a_thief_of_the_party_s_key_can_do_nothing_once_it_is_replaced(
    stage: Stage, ruleset: Ruleset
) -> None:
    old, place, author = stage.party.key, stage.party, stage.party.author
    stage.run(AT, AT + 2 * MINUTE)
    thief = Person(stage, old)
    assert thief.say(governance_pb2.Reply(finding="F", text="before it is noticed")) == ""
    _party_goes_on(stage, _person(stage, SAVIOUR))
    agreement = stage.book.pins.digest
    crimes: list[Message] = [
        identity_pb2.Revocation(key_id=stage.key.key_id),
        governance_pb2.Withdrawal(agreement=agreement, party=AURORA),
        _gives(stage, stage.first.key_id, SigningKey.generate()),
        rotation(SigningKey.generate(), author, old.key_id),
    ]
    for crime in crimes:
        assert thief.say(crime) == "REVOKED_KEY"
        assert Person(stage, old).say(crime) == "REVOKED_KEY"
    # It knows the place of what the party said last under the old key: a fork there proves nothing any more.
    first = stage.author(author)[0]
    fork, _ = place.say(governance_pb2.Reply(text="fork"), AT, AT, salt=SALT)
    (answer,) = stage.take([fork])
    assert isinstance(answer, Refusal)
    assert answer.reason == "REVOKED_KEY"
    assert first.sequence == place.sequence - 1
    start = align(stage.hours.now_ms(), MINUTE) + MINUTE
    stage.run(start, start + 2 * MINUTE)
    party = stage.verdict(start, start + 2 * MINUTE, ruleset)
    assert on_chains(party) == []
    assert stage.evidence().faults == ()
    assert stage.heard() == [*minutes(0, 1), start, start + MINUTE]


def test_a_node_that_a_thief_of_the_party_s_key_revoked_speaks_again_and_owes_its_chips_once(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 2 * MINUTE)
    thief = Person(stage, stage.party.key)
    assert thief.say(identity_pb2.Revocation(key_id=stage.key.key_id)) == ""
    assert Person(stage, stage.key).say(stage.summary(AT)) == "REVOKED_KEY"
    assert [node.chips for node in stage.evidence().nodes] == [CHIPS], "owed while it is silent"
    _party_goes_on(stage, _person(stage, SAVIOUR))
    _node_goes_on(stage)
    stage.run(AT + 4 * MINUTE, AT + 6 * MINUTE)
    party = stage.verdict(AT, AT + 6 * MINUTE, ruleset)
    evidence = stage.evidence()
    assert [(node.node_id, node.chips) for node in evidence.nodes] == [
        (stage.first.key_id, CHIPS)
    ], "one node, no chip more or less"
    assert stage.heard() == minutes(0, 1, 4, 5)
    assert covered(party) == pytest.approx(4 / 6), "the silence between shows"
    assert on_chains(party) == []
    assert (evidence.chains.gaps, evidence.faults) == ((), ())
    assert len(_told(party)) == 2, "the party's key, and its node's"


def test_a_thief_that_went_on_under_its_own_key_as_the_node_is_ended_by_the_party(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 2 * MINUTE)
    thiefs, author = SigningKey.generate(), stage.first.key_id
    assert Person(stage, stage.key, author).say(rotation(thiefs, author, stage.key.key_id)) == ""
    thief = Person(stage, thiefs, author)
    assert thief.say(stage.summary(AT)) == ""
    _node_goes_on(stage)
    assert thief.say(stage.summary(AT)) == "REVOKED_KEY"
    start = align(stage.hours.now_ms(), MINUTE) + 2 * MINUTE
    stage.run(start, start + 2 * MINUTE)
    party = stage.verdict(start, start + 2 * MINUTE, ruleset)
    assert {start, start + MINUTE} <= set(stage.heard())
    assert on_chains(party) == []
    assert len(stage.evidence().nodes) == 1


def test_who_stole_the_recovery_key_takes_the_party_over_and_is_ended_by_the_panel_alone(
    stage: Stage, ruleset: Ruleset
) -> None:
    stage.run(AT, AT + 2 * MINUTE)
    author, given = stage.party.author, SigningKey.generate()
    agreement = stage.book.pins.digest
    stolen = _person(stage, SAVIOUR)
    thiefs = [SigningKey.generate(), SigningKey.generate()]
    assert stolen.say(_gives(stage, author, thiefs[0])) == ""
    assert Person(stage, thiefs[0], author).say(governance_pb2.Reply(text="I am aurora")) == ""
    # The owner has the key too, and is party again; so is the thief, and so on.
    _party_goes_on(stage, _person(stage, SAVIOUR))
    assert stolen.say(_gives(stage, author, thiefs[1])) == ""
    dispute = stage.verdict(AT, AT + 2 * MINUTE, ruleset)
    assert _told(dispute) == [
        ("party aurora", Severity.NOTE),
        ("party aurora", Severity.DOUBT),
        ("party aurora", Severity.DOUBT),
    ]
    judges = [_person(stage, name) for name in ("judge-adeyemi", "judge-tanaka")]
    assert judges[0].say(_gives(stage, author, given)) == ""
    thief = Person(stage, thiefs[1], author)
    assert thief.say(governance_pb2.Reply(text="one judge is no quorum")) == ""
    assert judges[1].say(_gives(stage, author, given)) == ""
    withdrawal = governance_pb2.Withdrawal(agreement=agreement, party=AURORA)
    assert thief.say(withdrawal) == "REVOKED_KEY"
    assert stolen.say(_gives(stage, author, SigningKey.generate())) == "REVOKED_KEY"
    owner = Person(stage, given, author)
    assert owner.say(governance_pb2.Accession(agreement=agreement, party=AURORA)) == ""
    evidence = stage.evidence()
    assert (evidence.faults, evidence.chains.forks, evidence.chains.gaps) == ((), (), ())


def test_a_thief_of_the_live_key_cannot_touch_the_recovery_key(stage: Stage) -> None:
    thief = Person(stage, stage.party.key)
    recovery_key = stage.book.people[SAVIOUR].key.key_id
    fresh = SigningKey.generate()
    assert thief.say(_gives(stage, recovery_key, fresh)) == "BAD_ROTATION"
    thief = Person(stage, stage.party.key)
    assert thief.say(identity_pb2.Revocation(key_id=recovery_key)) == "BAD_REVOCATION"
    thief = Person(stage, stage.party.key)
    assert thief.say(_gives(stage, stage.party.author, fresh)) == "BAD_ROTATION"
