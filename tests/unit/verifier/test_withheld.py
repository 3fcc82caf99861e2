"""A log that keeps back what was said: nobody is convicted by that, and whoever holds it can hand it over."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protos.stillwatch.statement.v1 import summary_pb2
from statements.header import decode_header
from statements.kinds import Kind
from statements.record import decode_record
from tests.unit.verifier.auditing import audit, found, outcomes, party_of
from tests.unit.verifier.logbook import IDLE, MINUTE, Logbook, Pause, play
from verifier.accounts.obligations import Outcome
from verifier.checks.interface import Severity
from verifier.cli import audit as command
from verifier.instants import rfc3339
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion, PartyVerdict


@pytest.fixture(scope="module")
def cured() -> Pause:
    """Everybody idles, and no cure is owed any more when the log ends."""
    return play({}, minutes=40, terms={"obligations.coverage-floor.cure": '"1 min"'})


def said_by(book: Logbook, *kinds: Kind, nodes: Sequence[str]) -> Iterator[int]:
    """Yield the indices of statements of some kinds by nodes."""
    authors = {book.nodes[name].key.key_id for name in nodes}
    for at, record in enumerate(book.records):
        header = decode_header(decode_record(record).header)
        if header.author in authors and header.kind in kinds:
            yield at


def kept_back(
    pause: Pause, ruleset: Ruleset, indices: Sequence[int], served: bytes | None = None
) -> PartyVerdict:
    """Return the verdict on aurora by a log that serves something else for some bodies, or nothing."""
    book = pause.book.copy()
    for index in indices:
        book.bodies[index] = served
    return party_of(audit(book, pause.in_force, ruleset), "aurora")


@pytest.mark.parametrize("served", [None, b"", b"?" * 100])
def test_windows_that_were_said_and_are_not_served_convict_nobody(
    cured: Pause, ruleset: Ruleset, served: bytes | None
) -> None:
    windows = list(said_by(cured.book, Kind.SUMMARY, nodes=["aurora/0"]))
    party = kept_back(cured, ruleset, windows, served)
    assert outcomes(party)["coverage-floor"] is Outcome.UNRESOLVED
    assert party.conclusion is Conclusion.UNRESOLVED
    assert any("audit run --bodies" in why for why in party.why)
    (finding,) = found(party, "bodies_missing")
    assert finding.subject == f"log {cured.book.origin}"
    (silence,) = found(party, "coverage_silence")
    assert silence.severity is Severity.DOUBT


@pytest.mark.parametrize("kind", [Kind.OPENING, Kind.INVENTORY, Kind.ENROLMENT])
def test_public_statements_that_are_not_served_convict_nobody(
    cured: Pause, ruleset: Ruleset, kind: Kind
) -> None:
    book = cured.book
    author = book.people["aurora"].key if kind is Kind.ENROLMENT else book.nodes["aurora/0"].key
    indices = [
        at
        for at, record in enumerate(book.records)
        if (header := decode_header(decode_record(record).header)).kind == kind
        and header.author == author.key_id
    ]
    party = kept_back(cured, ruleset, indices)
    assert Outcome.VIOLATED not in outcomes(party).values()
    assert party.conclusion in {Conclusion.UNRESOLVED, Conclusion.NOT_ASSESSED}


def test_silence_beside_what_is_not_served_is_still_a_violation(ruleset: Ruleset) -> None:
    """One window that is not served excuses no other that was never said."""
    pause = play({"aurora": None}, terms={"obligations.coverage-floor.cure": '"1 min"'})
    book, node = pause.book, pause.book.nodes["aurora/0"]
    start = pause.in_force[0]
    for _ in range(50):
        said = book.sign(node, summary_pb2.WorkloadSummary(), start, start + MINUTE)
        book.log(said, body=False)
    party = party_of(audit(book, pause.in_force, ruleset), "aurora")
    assert outcomes(party)["coverage-floor"] is Outcome.VIOLATED


def test_windows_that_a_log_dropped_from_within_a_chain_convict_nobody(ruleset: Ruleset) -> None:
    pause = play({}, minutes=0, after=0, terms={"obligations.coverage-floor.cure": '"1 min"'})
    book, start, node = pause.book, pause.book.now_ms, pause.book.nodes["aurora/0"]
    for at in range(10):
        if at in {3, 4}:
            book.window(node, book.now_ms, IDLE)  # said, and never logged
        book.minute({"aurora/0": None if at in {3, 4} else IDLE})
    period = (start, start + 6 * MINUTE)
    party = party_of(audit(book, period, ruleset), "aurora")
    (gap,) = found(party, "chain_gap")
    assert gap.severity is Severity.DOUBT
    assert outcomes(party)["coverage-floor"] is Outcome.UNRESOLVED
    assert any("2 statements of its nodes are not in the log" in why for why in party.why)


def test_a_hole_excuses_no_more_windows_than_it_has_room_for(ruleset: Ruleset) -> None:
    pause = play({}, minutes=0, after=0, terms={"obligations.coverage-floor.cure": '"1 min"'})
    book, start, node = pause.book, pause.book.now_ms, pause.book.nodes["aurora/0"]
    for at in range(12):
        if at == 8:
            book.sign(node, summary_pb2.WorkloadSummary(), start, start + MINUTE)
        book.minute({"aurora/0": IDLE if at >= 8 else None})
    party = party_of(audit(book, (start, start + 9 * MINUTE), ruleset), "aurora")
    assert found(party, "chain_gap")
    assert outcomes(party)["coverage-floor"] is Outcome.VIOLATED


def test_a_window_told_many_times_without_a_body_counts_once(ruleset: Ruleset) -> None:
    pause = play(
        {"aurora": None}, minutes=6, after=0, terms={"obligations.coverage-floor.cure": '"1 min"'}
    )
    book, node = pause.book, pause.book.nodes["aurora/0"]
    start = book.now_ms
    book.now_ms += MINUTE
    for _ in range(50):
        said = book.sign(node, summary_pb2.WorkloadSummary(), start, start + MINUTE)
        book.log(said, body=False)
    book.tick()
    for _ in range(5):
        book.minute({"aurora": None})
    period = (pause.in_force[0], start + MINUTE)
    party = party_of(audit(book, period, ruleset), "aurora")
    assert outcomes(party)["coverage-floor"] is Outcome.VIOLATED


@pytest.fixture
def places(cured: Pause, tmp_path: Path) -> Path:
    """A log that keeps bodies of aurora back, and copies of what it once served: a whole one and an older one."""
    cured.book.serve(tmp_path / "party")
    older = cured.book.copy()
    more = 200
    older.records, older.bodies = older.records[:more], older.bodies[:more]
    older.serve(tmp_path / "older")
    book = cured.book.copy()
    for index in said_by(book, Kind.SUMMARY, Kind.OPENING, nodes=["aurora/0", "aurora/1"]):
        book.bodies[index] = None if index % 2 else b"?"
    book.serve(tmp_path / "log")
    (tmp_path / "agreement.toml").write_text(book.text)
    return tmp_path


def run(places: Path, pause: Pause, *more: str) -> tuple[Result, str]:
    """Audit the log; return the result, and what is concluded of aurora."""
    period = "/".join(map(rfc3339, pause.in_force))
    common = ["--agreement", str(places / "agreement.toml"), "--log", str(places / "log")]
    said = CliRunner().invoke(command, ["run", *common, "--period", period, "-o", "json", *more])
    if said.exit_code == 4:
        return said, said.stderr
    parties = json.loads(said.stdout)["parties"]
    return said, next(party["verdict"] for party in parties if party["party"] == "aurora")


@pytest.mark.parametrize("mirror", [False, True])
def test_whoever_holds_the_bodies_hands_them_over_and_is_judged_by_them(
    places: Path, cured: Pause, mirror: bool
) -> None:
    kept = ["--mirror", str(places / "mirror")] if mirror else []
    assert run(places, cured, *kept)[1] in {"unresolved", "not_assessed"}
    said, verdict = run(places, cured, *kept, "--bodies", str(places / "party"))
    assert verdict == "compliant"
    again, verdict = run(places, cured, *kept)
    if mirror:
        assert again.stdout == said.stdout, "a mirror keeps what was handed over"
    else:
        assert verdict != "compliant"


def test_bodies_of_a_copy_that_ends_before_are_taken_as_far_as_it_goes(
    places: Path, cured: Pause
) -> None:
    _, verdict = run(places, cured, "--bodies", str(places / "older"))
    assert verdict != "compliant"
    both = (part for name in ("older", "party") for part in ("--bodies", str(places / name)))
    assert run(places, cured, *both)[1] == "compliant"
    assert (places / "party/bodies/000").exists()
    assert not (places / "older/bodies/000").exists(), "it has a part of what is whole now"


def test_bodies_from_elsewhere_are_believed_by_their_digests_alone(
    places: Path, cured: Pause
) -> None:
    for path in (places / "party/bodies").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2 :] = hashlib.shake_256(b"?").digest(len(data) - len(data) // 2)
            path.write_bytes(data)
    said, why = run(places, cured, "--bodies", str(places / "party"))
    assert said.exit_code == 4
    assert "BUNDLE_" in why
    book = cured.book.copy()
    book.bodies = [b"something else" for _ in book.bodies]
    book.serve(places / "liar")
    assert run(places, cured, "--bodies", str(places / "liar"))[1] != "compliant"
