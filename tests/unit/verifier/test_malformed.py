"""Bodies that are none, or say what makes no sense: no audit stops at them, and nobody gains or loses by another's."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statements.author import Author, Statement
from statements.body import encode_body
from statements.header import Header, encode_header
from statements.kinds import PUBLIC, Kind
from statements.signing import statement_id
from tests.unit.verifier.auditing import audit, found, party_of
from tests.unit.verifier.logbook import IDLE, MINUTE, Logbook, Pause, Speaker, play, summary
from verifier.report.document import encode_document, to_document
from verifier.report.registry import FORMATS
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion

INSTANTS = st.sampled_from([0, MINUTE, 2**53, 2**63, 2**64 - 1])
KINDS = st.sampled_from([kind for kind in Kind if kind is not Kind.TICK])


def _say(book: Logbook, who: Speaker, kind: Kind, stored: bytes, period: tuple[int, int]) -> int:
    """Log whatever bytes as a statement's body, well signed and in its place."""
    if who.author is None:
        book.open(who)
    author = who.author
    assert author is not None
    digest = hashlib.sha256(stored).digest()
    header = encode_header(
        Header(
            int(kind), author.author, author.key.key_id, author.epoch, author.sequence, author.previous,
            *period, bytes(32), 0, bytes(32), digest, digest, PUBLIC,
        )
    )  # fmt: skip
    said = statement_id(header)
    who.author = Author(author.key, author.author, author.epoch, author.sequence + 1, said)
    who.newest = said
    return book.log(Statement(header, author.key.sign(said), stored))


@st.composite
def mangled(draw: st.DrawFn, book: Logbook) -> tuple[Kind, bytes]:
    """Return a kind, and a body of that kind with some bytes changed, or bytes of any sort."""
    kind = draw(KINDS)
    bodies = [body for body in book.bodies if body is not None]
    body = bytearray(draw(st.sampled_from(bodies) | st.binary(max_size=80)))
    for at in draw(st.lists(st.integers(0, max(0, len(body) - 1)), max_size=4)):
        if body:
            body[at] = draw(st.integers(0, 255))
    return kind, bytes(body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body)


@pytest.fixture(scope="module")
def begun() -> Pause:
    return play({}, minutes=0, after=0)


@settings(max_examples=50)
@given(data=st.data())
def test_no_body_whatever_stops_an_audit_or_touches_another_party(
    begun: Pause, ruleset: Ruleset, data: st.DataObject
) -> None:
    book = begun.book.copy()
    start = book.now_ms
    speakers = [book.nodes["borealis/0"], book.people["borealis"], book.people["judge-tanaka"]]
    for _ in range(data.draw(st.integers(1, 6))):
        kind, stored = data.draw(mangled(book))
        first, end = sorted((data.draw(INSTANTS | st.just(start)), data.draw(INSTANTS)))
        _say(book, data.draw(st.sampled_from(speakers)), kind, stored, (first, end))
    for _ in range(5):
        book.minute({})
    verdict = audit(book, (start, start + 2 * MINUTE), ruleset)
    document = to_document(verdict)
    FORMATS["text"].render(document)
    assert encode_document(document) == encode_document(
        to_document(audit(book, (start, start + 2 * MINUTE), ruleset))
    )
    assert party_of(verdict, "aurora").conclusion is Conclusion.COMPLIANT


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (b"", "a body that does not parse"),
        (b"\xff" * 40, "a body that does not parse"),
        (encode_body(b"\xff\xff\xff", bytes(16)), "a body that does not parse"),
        (encode_body(b"", bytes(16)), "cites no inventory"),
    ],
)
def test_a_window_whose_body_is_malformed_is_told_with_why_and_covers_nothing(
    begun: Pause, ruleset: Ruleset, stored: bytes, words: str
) -> None:
    book = begun.book.copy()
    start = book.now_ms
    node = book.nodes.pop("borealis/0")
    index = _say(book, node, Kind.SUMMARY, stored, (start, start + MINUTE))
    for _ in range(5):
        book.minute({})
    party = party_of(audit(book, (start, start + MINUTE), ruleset), "borealis")
    assert party.account.coverage == pytest.approx(0.5)
    assert party.conclusion is not Conclusion.COMPLIANT
    told = [*found(party, "bodies_missing"), *found(party, "windows_refused")]
    assert [[one.index for one in finding.evidence] for finding in told] == [[index]]
    assert words in told[0].summary


@pytest.mark.parametrize("kind", [Kind.FACT, Kind.ACCESSION, Kind.ENROLMENT, Kind.RULING])
def test_a_public_body_that_is_malformed_is_told_with_a_reason_and_says_nothing(
    begun: Pause, ruleset: Ruleset, kind: Kind
) -> None:
    book = begun.book.copy()
    start = book.now_ms
    index = _say(book, book.people["cygnus"], kind, b"\xff\xff", (start, start))
    for _ in range(5):
        book.minute({})
    verdict = audit(book, (start, start + 2 * MINUTE), ruleset)
    (told,) = verdict.ledger_findings
    assert told.check == "log_admission"
    assert "[MALFORMED_BODY]" in told.summary
    assert [one.index for one in told.evidence] == [index]
    assert index not in {said.index for said in book.evidence().said}


def test_a_summary_under_another_kind_is_no_window(begun: Pause, ruleset: Ruleset) -> None:
    book = begun.book.copy()
    start = book.now_ms
    node = book.nodes["borealis/0"]
    content = summary(node, start, IDLE).SerializeToString()
    stored = encode_body(content, bytes(16))
    for kind in (Kind.METER_READING, Kind.DECLARATION):
        _say(book, node, kind, stored, (start, start + MINUTE))
    others = {name: who for name, who in book.nodes.items() if who is not node}
    book.nodes = others
    for _ in range(5):
        book.minute({})
    party = party_of(audit(book, (start, start + MINUTE), ruleset), "borealis")
    assert party.account.coverage == pytest.approx(0.5)
