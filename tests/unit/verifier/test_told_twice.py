"""One minute of one node, told in two ways: it decides nothing."""

from dataclasses import replace

from tests.unit.verifier.auditing import found, verdict_on
from tests.unit.verifier.logbook import IDLE, MINUTE, TRAINING, Pause, play, summary
from verifier.checks.interface import Severity
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion


def _again(pause: Pause, *, other: bool) -> None:
    """Let a node tell a minute a second time in a new epoch: word for word, or another way."""
    book = pause.book
    node = next(node for node in book.nodes.values() if node.party == "aurora")
    start, salt = book.now_ms, b"s" * 16
    told = summary(replace(node), start, IDLE)
    retold = summary(replace(node), start, TRAINING) if other else told
    book.now_ms += MINUTE
    for message in (told, retold):
        assert node.author is not None
        said, node.author = node.author.say(message, start, start + MINUTE, salt=salt)
        book.log(said)
        node.newest = said.id
        if message is told:
            book.open(node, 3)
    node.energy_mj += round((IDLE.power_w or 0) * MINUTE)
    for others in book.nodes.values():
        if others is not node:
            book.log(book.window(others, start, IDLE))
    book.tick()
    for _ in range(4):
        book.minute({})


def _played(*, other: bool) -> Pause:
    pause = play({}, minutes=6, after=0)
    _again(pause, other=other)
    return Pause(pause.book, (pause.in_force[0], pause.in_force[1] + MINUTE))


def test_a_minute_told_in_two_ways_leaves_its_party_unresolved(ruleset: Ruleset) -> None:
    party = verdict_on(_played(other=True), ruleset, "aurora")
    (twice,) = found(party, "told_twice")
    assert twice.severity is Severity.DOUBT
    assert len(twice.evidence) == 2
    assert party.conclusion is Conclusion.UNRESOLVED


def test_a_minute_said_again_word_for_word_is_found_nothing_of(ruleset: Ruleset) -> None:
    """An agent that lost an acknowledgement says it again in its next epoch."""
    party = verdict_on(_played(other=False), ruleset, "aurora")
    assert found(party, "told_twice") == []
    assert party.conclusion is Conclusion.COMPLIANT
