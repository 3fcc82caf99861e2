"""A key that contradicted itself, in the periods after: in doubt until it is rotated."""

from dataclasses import replace

from statements.signing import SigningKey
from tests.unit.verifier.auditing import audit, found, party_of
from tests.unit.verifier.logbook import IDLE, MINUTE, Pause, play
from tests.unit.verifier.test_key_lives import _resume, _rotate
from verifier.checks.interface import Severity
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion


def _forked() -> tuple[Pause, str]:
    """Return an honest pause after which a node's key contradicts itself."""
    pause = play({}, minutes=6, after=4)
    name = next(name for name, node in pause.book.nodes.items() if node.party == "aurora")
    node = pause.book.nodes[name]
    clone = replace(node)
    pause.book.log(pause.book.window(node, pause.book.now_ms - MINUTE, IDLE))
    pause.book.log(pause.book.window(clone, pause.book.now_ms - MINUTE, IDLE))
    return pause, name


def _severities(pause: Pause, period: tuple[int, int], ruleset: Ruleset) -> list[Severity]:
    party = party_of(audit(pause.book, period, ruleset), "aurora")
    return [finding.severity for finding in found(party, "chain_fork")]


def test_a_fork_is_a_breach_when_it_is_logged_and_doubt_until_the_key_is_rotated(
    ruleset: Ruleset,
) -> None:
    pause, name = _forked()
    book, forked_at = pause.book, pause.book.now_ms
    for _ in range(3):
        book.minute({})
    rotated_at = book.now_ms
    node = book.nodes[name]
    new = SigningKey.generate()
    _rotate(book, node, new)
    _resume(book, node, new)
    book.show(node, *(f"{node.name}-{at}" for at in range(8)))
    for _ in range(8):
        book.minute({})
    assert _severities(pause, pause.in_force, ruleset) == []
    assert _severities(pause, (forked_at - MINUTE, forked_at), ruleset) == [Severity.BREACH]
    assert _severities(pause, (rotated_at - MINUTE, rotated_at), ruleset) == [Severity.DOUBT]
    clean = rotated_at + MINUTE, rotated_at + 5 * MINUTE
    assert _severities(pause, clean, ruleset) == []
    verdict = party_of(audit(book, clean, ruleset), "aurora")
    assert verdict.conclusion is Conclusion.COMPLIANT


def test_a_contested_key_leaves_its_party_unresolved_and_nobody_else(ruleset: Ruleset) -> None:
    pause, _ = _forked()
    start = pause.book.now_ms
    for _ in range(8):
        pause.book.minute({})
    verdict = audit(pause.book, (start + MINUTE, start + 4 * MINUTE), ruleset)
    assert party_of(verdict, "aurora").conclusion is Conclusion.UNRESOLVED
    assert party_of(verdict, "borealis").conclusion is Conclusion.COMPLIANT
