"""Audits of what is sealed: by those who may read it, and by those who may not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner
from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import summary_pb2
from statements.author import Statement
from statements.body import body_digest
from statements.disclosure import disclose
from statements.header import Header, decode_header, encode_header
from statements.kinds import PUBLIC, Kind
from statements.reading_keys import pinned_as, read_reading_key, write_reading_key
from statements.record import decode_record
from statements.sealing import DAY_MS, ContentKey, ReadingKey, day_of
from statements.signing import SigningKey, statement_id
from tests.unit.verifier.auditing import found, outcomes, party_of
from tests.unit.verifier.logbook import IDLE, MINUTE, TRAINING, Logbook, Pause, Speaker, play
from verifier.accounts.obligations import Outcome
from verifier.checks.interface import Severity
from verifier.cli import audit as command
from verifier.evidence.gather import gather
from verifier.instants import rfc3339
from verifier.report.document import encode_document, to_document
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion, PartyVerdict, Verdict, conclude

AISI, PEER, STRANGER = ReadingKey.generate(), ReadingKey.generate(), ReadingKey.generate()
TERMS: Final = {
    "obligations.coverage-floor.cure": '"1 min"',
    "disclosure.summaries": '"inspectors"',
    "disclosure.classes": f'[{{ id = "inspectors", readers = [{{ id = "aisi", key = "{pinned_as(AISI.public)}" }}, '
    f'{{ id = "peer", key = "{pinned_as(PEER.public)}" }}] }}]',
}


@pytest.fixture(scope="module")
def sealed() -> Pause:
    """Aurora idles, borealis trains on; whatever they show is sealed."""
    return play({"borealis": TRAINING}, minutes=14, terms=TERMS)


def judged(book: Logbook, period: tuple[int, int], ruleset: Ruleset, *keys: ReadingKey) -> Verdict:
    evidence = gather(book.pins, book.prefix(), keys)
    return conclude(book.text.encode(), evidence, period, ruleset)


def summaries(book: Logbook, node: str) -> list[int]:
    """Return the indices of a node's windows."""
    author = book.nodes[node].key.key_id
    return [at for at, header in enumerate(headers(book)) if is_window(header, author)]


def is_window(header: Header, author: bytes) -> bool:
    return header.kind == Kind.SUMMARY and header.author == author


def headers(book: Logbook) -> list[Header]:
    return [decode_header(decode_record(record).header) for record in book.records]


def test_every_window_is_sealed_and_nothing_else(sealed: Pause) -> None:
    for header in headers(sealed.book):
        assert (header.disclosure != PUBLIC) == (header.kind == Kind.SUMMARY)
        assert (header.body_digest != header.stored_digest) == (header.kind == Kind.SUMMARY)


@pytest.mark.parametrize("reader", [AISI, PEER])
def test_a_reader_concludes_what_it_would_conclude_in_public(
    sealed: Pause, ruleset: Ruleset, reader: ReadingKey
) -> None:
    verdict = judged(sealed.book, sealed.in_force, ruleset, reader)
    assert party_of(verdict, "aurora").conclusion is Conclusion.COMPLIANT
    assert party_of(verdict, "borealis").conclusion is Conclusion.VIOLATION


def test_readers_get_the_same_bytes(sealed: Pause, ruleset: Ruleset) -> None:
    one, other, both = (
        encode_document(to_document(judged(sealed.book, sealed.in_force, ruleset, *keys)))
        for keys in ((AISI,), (PEER,), (PEER, AISI))
    )
    assert one == other == both


@pytest.mark.parametrize("keys", [(), (STRANGER,)])
def test_whoever_holds_no_key_assesses_nobody_and_says_which_class_it_could_not_open(
    sealed: Pause, ruleset: Ruleset, keys: tuple[ReadingKey, ...]
) -> None:
    verdict = judged(sealed.book, sealed.in_force, ruleset, *keys)
    for party in verdict.parties:
        assert party.conclusion is Conclusion.NOT_ASSESSED
        assert any("sealed to inspectors" in why for why in party.why)
        assert any("sealed to inspectors" in unseen for unseen in party.cannot_see)
        (finding,) = found(party, "sealed_bodies")
        assert finding.severity is Severity.DOUBT
        assert Outcome.VIOLATED not in outcomes(party).values()
        assert Outcome.KEPT not in outcomes(party).values()


def test_silence_shows_without_any_key(ruleset: Ruleset) -> None:
    """That a window was said is public: a party that says none hides behind no seal."""
    pause = play({"cygnus": None}, terms=TERMS)
    verdict = judged(pause.book, pause.in_force, ruleset)
    assert outcomes(party_of(verdict, "cygnus"))["coverage-floor"] is Outcome.VIOLATED
    assert party_of(verdict, "cygnus").conclusion is Conclusion.VIOLATION
    assert outcomes(party_of(verdict, "aurora"))["coverage-floor"] is Outcome.UNRESOLVED
    assert party_of(verdict, "aurora").conclusion is Conclusion.NOT_ASSESSED


def without_key(pause: Pause, ruleset: Ruleset, *hidden: int) -> PartyVerdict:
    """Return the verdict on aurora with a key, its log lacking some bodies."""
    book = pause.book.copy()
    for index in hidden:
        book.bodies[index] = None
    return party_of(judged(book, pause.in_force, ruleset, AISI), "aurora")


def test_a_sealed_body_that_is_not_served_is_laid_to_the_log(
    sealed: Pause, ruleset: Ruleset
) -> None:
    party = without_key(sealed, ruleset, summaries(sealed.book, "aurora/0")[-8])
    (finding,) = found(party, "bodies_missing")
    assert finding.subject == f"log {sealed.book.origin}"
    assert party.account.coverage < 1
    assert not found(party, "sealed_bodies")


def test_a_sealed_body_with_a_flipped_bit_is_laid_to_the_log(
    sealed: Pause, ruleset: Ruleset
) -> None:
    book = sealed.book.copy()
    index = summaries(book, "aurora/0")[-8]
    body = book.bodies[index]
    assert body is not None
    book.bodies[index] = body[:-1] + bytes([body[-1] ^ 1])
    party = party_of(judged(book, sealed.in_force, ruleset, AISI), "aurora")
    (finding,) = found(party, "bodies_missing")
    assert finding.subject == f"log {book.origin}"
    assert "not theirs" in finding.summary


Spoil = Callable[[Logbook, Statement], Statement]


def _to_garbage(book: Logbook, said: Statement) -> Statement:
    """Say that the ciphertext is garbage: digests hold, and nothing opens."""
    stored = bytes(len(said.stored))
    header = decode_header(said.header)._replace(stored_digest=body_digest(stored))
    return _signed(book, header, stored)


def _to_another_body(book: Logbook, said: Statement) -> Statement:
    header = decode_header(said.header)._replace(body_digest=b"?" * 32)
    return _signed(book, header, said.stored)


def _to_another_class(book: Logbook, said: Statement) -> Statement:
    header = decode_header(said.header)._replace(disclosure=3)
    return _signed(book, header, said.stored)


def _signed(book: Logbook, header: Header, stored: bytes) -> Statement:
    node = book.nodes["aurora/0"]
    encoded = encode_header(header)
    identity = statement_id(encoded)
    assert node.author is not None
    node.author = dataclasses.replace(node.author, previous=identity)
    return Statement(encoded, node.key.sign(identity), stored)


@pytest.mark.parametrize("spoil", [_to_garbage, _to_another_body, _to_another_class])
def test_a_body_that_does_not_open_is_laid_to_its_author(ruleset: Ruleset, spoil: Spoil) -> None:
    pause = play({}, minutes=6, after=0, terms=TERMS)
    book, node = pause.book, pause.book.nodes["aurora/0"]
    start = book.now_ms
    book.log(spoil(book, book.window(node, start, IDLE)))
    for name in ("aurora/1", "borealis/0", "borealis/1", "cygnus/0", "cygnus/1"):
        book.log(book.window(book.nodes[name], start, IDLE))
    book.now_ms = start + MINUTE
    book.tick()
    for _ in range(3):
        book.minute({})
    verdict = judged(book, (pause.in_force[0], start + MINUTE), ruleset, AISI)
    party = party_of(verdict, "aurora")
    (finding,) = found(party, "sealed_bodies")
    assert finding.subject == node.key.key_id.hex()[:12]
    assert finding.severity is Severity.DOUBT
    assert party.conclusion is not Conclusion.COMPLIANT
    assert party_of(verdict, "cygnus").conclusion is Conclusion.COMPLIANT


def _content_key(book: Logbook, node: str) -> int:
    author = book.nodes[node].key.key_id
    (index,) = (
        at
        for at, header in enumerate(headers(book))
        if header.kind == Kind.CONTENT_KEY and header.author == author
    )
    return index


def test_what_no_content_key_was_logged_for_is_laid_to_its_author_even_without_a_key(
    ruleset: Ruleset,
) -> None:
    pause = play({}, minutes=6, after=0, terms=TERMS)
    book, node = pause.book, pause.book.nodes["aurora/0"]
    assert node.content_key is not None
    node.content_key = dataclasses.replace(node.content_key, day=node.content_key.day + 1)
    start = day_of(book.now_ms) * DAY_MS + DAY_MS
    book.now_ms = start
    book.minute({})
    party = party_of(judged(book, (start, start + MINUTE), ruleset), "aurora")
    summary = next(f.summary for f in found(party, "sealed_bodies") if "authors" in f.summary)
    assert "no content key" in summary


@pytest.mark.parametrize("keys", [(), (AISI,)])
def test_a_content_key_that_the_log_keeps_back_is_laid_to_the_log_and_to_no_author(
    sealed: Pause, ruleset: Ruleset, keys: tuple[ReadingKey, ...]
) -> None:
    book = sealed.book.copy()
    for name in ("aurora/0", "aurora/1"):
        book.bodies[_content_key(book, name)] = None
    party = party_of(judged(book, sealed.in_force, ruleset, *keys), "aurora")
    assert not found(party, "sealed_bodies")
    (finding,) = found(party, "bodies_missing")
    assert finding.subject == f"log {book.origin}"
    assert outcomes(party)["coverage-floor"] is Outcome.UNRESOLVED


def test_a_sealed_meter_reading_is_heard_by_its_readers_alone() -> None:
    meter = Speaker(SigningKey.generate())
    terms = {
        **TERMS,
        "disclosure.meter_readings": '"inspectors"',
        "meters": f'[{{ id = "grid", key = "sha256:{meter.key.key_id.hex()}", party = "aurora", '
        'sites = ["hall"], systematic_bound = "1 %" }]',
    }
    book = Logbook.begin(terms)
    (to,) = book.pins.disclosures.classes
    key = ContentKey(meter.key.key_id, day_of(book.now_ms), to.number, bytes(32))
    reading = summary_pb2.MeterReading(subject="hall", energy_start_mj=1, energy_end_mj=2)
    book.log(book.sign(meter, disclose(key, to)))
    index = book.log(book.sign(meter, reading, book.now_ms, book.now_ms + MINUTE, key))
    book.tick()

    def heard(*keys: ReadingKey) -> list[Message]:
        evidence = gather(book.pins, book.prefix(), keys)
        assert evidence.faults == ()
        assert [(one.row, one.charged) for one in evidence.unread] == (
            [] if keys else [(index, False)]
        )
        return [one.message for one in evidence.said if one.index == index]

    assert heard(PEER) == [reading]
    assert heard() == []


def test_the_command_makes_a_key_and_opens_with_it(sealed: Pause, tmp_path: Path) -> None:
    made = CliRunner().invoke(command, ["keygen", "--key", str(tmp_path / "new.key")])
    assert made.exit_code == 0
    assert pinned_as(read_reading_key(tmp_path / "new.key").public) in made.output
    write_reading_key(tmp_path / "aisi.key", AISI)
    sealed.book.serve(tmp_path / "log")
    (tmp_path / "agreement.toml").write_text(sealed.book.text)
    start, end = (rfc3339(at) for at in sealed.in_force)
    arguments = [
        *("run", "--agreement", str(tmp_path / "agreement.toml"), "--log", str(tmp_path / "log")),
        *("--period", f"{start}/{end}"),
    ]
    blind = CliRunner().invoke(command, arguments)
    assert blind.exit_code == 3, blind.output
    assert "sealed to inspectors" in blind.output
    opened = CliRunner().invoke(command, [*arguments, "--open-with", str(tmp_path / "aisi.key")])
    assert opened.exit_code == 1, opened.output
    assert "sealed to inspectors" not in opened.output
    wrong = CliRunner().invoke(command, [*arguments, "--open-with", str(tmp_path / "new.key")])
    assert wrong.exit_code == 2
    assert "opens nothing" in wrong.output
