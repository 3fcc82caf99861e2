"""A chip is one thing in one place: shown twice, or shown no more, it does not get its party off."""

import hashlib

import pytest

from protos.stillwatch.statement.v1 import identity_pb2
from tests.unit.verifier.auditing import audit, found, outcomes, party_of
from tests.unit.verifier.logbook import CHIPS, IDLE, MINUTE, Logbook, NodeSpeaker, play
from verifier.accounts.obligations import Outcome
from verifier.checks.interface import Severity
from verifier.evidence.gather import MOST_CHIPS
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion, Verdict

C = Conclusion
PEAK = 2 * 540_672 * 1.98e9
TERMS = {"obligations.training-cap.limit": '"1e25 FLOP"'}


def _begun() -> tuple[Logbook, int]:
    pause = play({}, minutes=0, after=0, terms=TERMS)
    return pause.book, pause.book.now_ms


def _go_on(book: Logbook, minutes: int, ruleset: Ruleset) -> Verdict:
    """Let some minutes pass, and then the grace; audit them."""
    start = book.now_ms
    for _ in range(minutes + 4):
        book.minute({})
    return audit(book, (start, start + minutes * MINUTE), ruleset)


def _names(node: NodeSpeaker, *places: int) -> list[str]:
    return [f"{node.name}-{place}" for place in places]


# ------------------------------------------------------------------------------------------- shown twice


def test_two_nodes_of_a_party_that_show_one_chip_are_an_anomaly(ruleset: Ruleset) -> None:
    """Eight idle chips are shown as sixteen; eight others train unseen."""
    book, _ = _begun()
    first, second = book.nodes["borealis/0"], book.nodes["borealis/1"]
    book.show(second, *_names(first, *range(CHIPS)))
    verdict = _go_on(book, 4, ruleset)
    party = party_of(verdict, "borealis")
    (finding,) = found(party, "duplicate_chips")
    assert finding.severity is Severity.ANOMALY
    assert "borealis/1" in finding.subject
    assert "8 of its chips" in finding.summary
    assert party.conclusion is C.ANOMALY
    assert party_of(verdict, "aurora").conclusion is C.COMPLIANT


def test_who_names_a_rivals_chip_harms_itself_and_not_the_rival(ruleset: Ruleset) -> None:
    book, _ = _begun()
    mine, rivals = book.nodes["cygnus/0"], book.nodes["aurora/0"]
    book.show(mine, *_names(mine, *range(7)), *_names(rivals, 7))
    verdict = _go_on(book, 4, ruleset)
    assert party_of(verdict, "aurora").conclusion is C.COMPLIANT
    assert [f.severity for f in found(party_of(verdict, "aurora"), "duplicate_chips")] == [
        Severity.NOTE
    ]
    assert party_of(verdict, "cygnus").conclusion is C.ANOMALY


def test_one_node_cannot_account_for_two_parties(ruleset: Ruleset) -> None:
    """Cygnus enrols a node of aurora's as its own: with the node's own proof, since both collude."""
    book, _ = _begun()
    node = book.nodes["aurora/0"]
    token = hashlib.sha256(b"token").digest()
    proof = hashlib.sha256(
        b"stillwatch enrolment v1\n" + book.pins.digest + book.people["cygnus"].key.key_id + token
    ).digest()
    book.say(
        "cygnus",
        identity_pb2.Enrolment(
            node_key=node.key.spki, site="hall", name="lent", token_digest=token,
            possession=node.key.sign(proof), agreement=book.pins.digest, chips=CHIPS,
            accounted_from=book.now_ms,
        ),
    )  # fmt: skip
    verdict = _go_on(book, 4, ruleset)
    assert party_of(verdict, "cygnus").conclusion is C.ANOMALY
    assert party_of(verdict, "aurora").conclusion is C.COMPLIANT


def test_a_chip_that_moved_from_one_node_to_another_is_no_duplicate(ruleset: Ruleset) -> None:
    book, start = _begun()
    giver, taker = book.nodes["aurora/0"], book.nodes["aurora/1"]
    book.minute({"aurora/1": None})
    book.show(giver, *_names(giver, *range(7)))
    book.show(taker, *_names(taker, *range(CHIPS)), *_names(giver, 7))
    for name, node in (("aurora/0", 7), ("aurora/1", 9)):
        book.log(book.window(book.nodes[name], start + MINUTE, IDLE, chips=node))
    verdict = _go_on(book, 1, ruleset)
    assert found(party_of(verdict, "aurora"), "duplicate_chips") == []


@pytest.mark.parametrize(
    "names",
    [
        ("a",) * CHIPS,
        ("", *"bcdefgh"),
        tuple("abcdefgg"),
        tuple(str(at) for at in range(MOST_CHIPS + 1)),
    ],
    ids=["one name", "no name", "a name twice", "too many"],
)
def test_an_inventory_that_does_not_tell_its_chips_apart_is_none(
    ruleset: Ruleset, names: tuple[str, ...]
) -> None:
    book, _ = _begun()
    book.show(book.nodes["borealis/0"], *names)
    party = party_of(_go_on(book, 4, ruleset), "borealis")
    assert party.account.coverage == pytest.approx(0.5)
    assert party.conclusion is C.UNRESOLVED
    assert len(found(party, "windows_refused")) == 1


# ---------------------------------------------------------------------------------------- shown no more


def test_a_chip_that_was_shown_is_owed_for_ever(ruleset: Ruleset) -> None:
    """Borealis puts a spare in the place of each of a node's chips, and runs those elsewhere."""
    book, _ = _begun()
    node = book.nodes["borealis/0"]
    book.show(node, *(f"spare-{at}" for at in range(CHIPS)))
    party = party_of(_go_on(book, 5, ruleset), "borealis")
    assert party.account.coverage == pytest.approx(16 / 24)
    assert party.account.unaccounted_flop == pytest.approx(PEAK * 8 * 300)
    assert outcomes(party)["coverage-floor"] is Outcome.UNRESOLVED
    assert "8 chips, shown before, shown no more" in found(party, "coverage_silence")[0].summary


def test_a_chip_that_comes_back_is_owed_for_the_time_that_it_was_away(ruleset: Ruleset) -> None:
    book, start = _begun()
    node = book.nodes["borealis/0"]
    book.show(node, *_names(node, *range(7)), "spare")
    for _ in range(2):
        book.minute({})
    book.show(node, *_names(node, *range(CHIPS)))
    for _ in range(8):
        book.minute({})
    party = party_of(audit(book, (start, start + 8 * MINUTE), ruleset), "borealis")
    # The chip was away for two minutes; the spare, which was shown once, has been owed since.
    assert party.account.unaccounted_flop == pytest.approx(PEAK * (120 + 360))


def test_a_chip_that_a_node_lacks_is_owed_once(ruleset: Ruleset) -> None:
    book, _ = _begun()
    node = book.nodes["borealis/0"]
    book.show(node, *_names(node, *range(7)))
    start = book.now_ms
    others = {name: who for name, who in book.nodes.items() if who is not node}
    for at in range(8):
        book.log(book.window(node, start + at * MINUTE, IDLE, chips=7))
        book.nodes = others
        book.minute({})
    party = party_of(audit(book, (start, start + 4 * MINUTE), ruleset), "borealis")
    assert party.account.unaccounted_flop == pytest.approx(PEAK * 240)


def test_counters_of_other_chips_price_no_gap(ruleset: Ruleset) -> None:
    """While a node was silent its chips were exchanged for some whose counters had moved little."""
    book, start = _begun()
    node = book.nodes["borealis/0"]
    book.minute({})
    for _ in range(2):
        book.minute({"borealis/0": None})
    book.show(node, *_names(node, *range(7)), "spare")
    for _ in range(8):
        book.minute({})
    party = party_of(audit(book, (start, start + 3 * MINUTE), ruleset), "borealis")
    assert party.account.unaccounted_flop == pytest.approx(PEAK * 8 * 120)
