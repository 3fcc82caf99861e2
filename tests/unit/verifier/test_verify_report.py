"""A verdict of somebody else's: it follows from the log byte for byte, or does not, or nobody can tell from here."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protos.stillwatch.statement.v1 import governance_pb2
from statements.header import decode_header
from statements.kinds import Kind
from statements.offline_bundle import RangeOf, encode_offline_bundle
from statements.record import decode_record
from stillwatch import main
from tests.unit.verifier.logbook import IDLE, Pause
from tests.unit.verifier.offline.bundling import bundle_of
from verifier.mirror.errors import MirrorError
from verifier.mirror.prefix import LogPrefix
from verifier.mirror.whole_bundle import prefix_in
from verifier.offline.outcome import Conclusion, Outcome
from verifier.report.again import Held, verify_report
from verifier.report.document import decode_document, encode_document, to_document
from verifier.ruleset import Ruleset, own_ruleset
from verifier.verdict import conclude

Forge = Callable[[dict[str, object]], object]


@pytest.fixture(scope="module")
def verdict(pause: Pause, ruleset: Ruleset) -> bytes:
    evidence = pause.book.evidence()
    return encode_document(
        to_document(conclude(pause.book.text.encode(), evidence, pause.in_force, ruleset))
    )


@pytest.fixture(scope="module")
def held(pause: Pause, ruleset: Ruleset) -> Held:
    return Held(pause.book.text.encode(), pause.book.prefix(), ruleset)


def reasons(outcome: Outcome) -> dict[str, list[str]]:
    return {
        "verified": [one.reason for one in outcome.verified],
        "refuted": [one.reason for one in outcome.refuted],
        "missing": [one.reason for one in outcome.missing],
    }


def forged(verdict: bytes, change: Forge) -> bytes:
    """Return a verdict in which something was changed, written as audits write verdicts."""
    tree = json.loads(verdict)
    change(tree)
    return encode_document(decode_document(json.dumps(tree).encode()))


def test_a_verdict_that_follows_from_the_log_is_verified(verdict: bytes, held: Held) -> None:
    outcome = verify_report(verdict, held)
    assert outcome.conclusion is Conclusion.VERIFIED
    assert reasons(outcome)["verified"] == ["A_VERDICT", "OF_THIS_LOG", "SAME_BYTES"]
    assert {one.reason for one in outcome.beyond} == {"NOT_PUBLISHED", "CANNOT_SEE"}


def test_a_log_that_has_gone_on_since_shows_it_still_and_who_published_it(
    verdict: bytes, held: Held, pause: Pause
) -> None:
    book = pause.book.copy()
    book.minute(dict.fromkeys(book.nodes, IDLE))
    message = governance_pb2.Verdict(agreement=book.pins.digest, json=verdict)
    book.say("auditor", message)
    book.minute({})
    outcome = verify_report(verdict, replace(held, prefix=book.prefix()))
    assert outcome.conclusion is Conclusion.VERIFIED
    assert reasons(outcome)["verified"][-2:] == ["SAME_BYTES", "PUBLISHED"]
    assert outcome.verified[-1].message.startswith("auditor logged it at index ")


def acquit(tree: dict[str, object]) -> None:
    parties = tree["parties"]
    assert isinstance(parties, list)
    guilty = next(party for party in parties if party["party"] == "borealis")
    guilty["verdict"] = "compliant"


def raise_limit(tree: dict[str, object]) -> None:
    parties = tree["parties"]
    assert isinstance(parties, list)
    parties[0]["detection_limit_flop"] *= 1 + 2**-52


def drop_finding(tree: dict[str, object]) -> None:
    parties = tree["parties"]
    assert isinstance(parties, list)
    next(party for party in parties if party["findings"])["findings"].pop()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (acquit, "parties.borealis.verdict is 'compliant', where 'violation' follows"),
        (raise_limit, "parties.aurora.detection_limit_flop is "),
        (drop_finding, ".findings is "),
        (lambda tree: tree.update(stage="lifted"), "stage is 'lifted', where 'in_force' follows"),
    ],
)
def test_a_verdict_that_does_not_follow_is_refuted_and_told_where(
    verdict: bytes, held: Held, change: Forge, place: str
) -> None:
    outcome = verify_report(forged(verdict, change), held)
    assert outcome.conclusion is Conclusion.REFUTED
    (remark,) = outcome.refuted
    assert remark.reason == "NOT_SO"
    assert place in remark.message


def name(place: str, value: object) -> Forge:
    def change(tree: dict[str, object]) -> None:
        logs, period = tree["logs"], tree["period"]
        assert isinstance(logs, list)
        assert isinstance(period, dict)
        (logs[0] if place in logs[0] else period if place in period else tree)[place] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (name("root", f"sha256:{'0' * 64}"), "OTHER_ROOT"),
        (name("origin", "log.example/other"), "OTHER_LOG"),
        (lambda tree: tree.update(logs=[]), "OTHER_LOG"),
        (name("from", "yesterday"), "BAD_PERIOD"),
        (name("to", "2026-06-01T00:00:00Z"), "BAD_PERIOD"),
        (
            lambda tree: tree["agreement"].update(digest=f"sha256:{'0' * 64}"),
            "OTHER_AGREEMENT",
        ),
    ],
)
def test_a_verdict_of_something_else_is_refuted(
    verdict: bytes, held: Held, change: Forge, reason: str
) -> None:
    outcome = verify_report(forged(verdict, change), held)
    assert outcome.conclusion is Conclusion.REFUTED
    assert reasons(outcome)["refuted"] == [reason]


def test_a_verdict_in_another_spelling_is_refuted(verdict: bytes, held: Held) -> None:
    spaced = json.dumps(json.loads(verdict), indent=1).encode()
    assert reasons(verify_report(spaced, held))["refuted"] == ["NOT_CANONICAL"]


def test_a_log_that_ends_before_refutes_nothing(verdict: bytes, held: Held) -> None:
    short = held.prefix.first(held.prefix.size - 1, held.prefix.note)
    outcome = verify_report(verdict, replace(held, prefix=short))
    assert outcome.conclusion is Conclusion.INCOMPLETE
    assert reasons(outcome)["missing"] == ["LOG_ENDS_BEFORE"]


@pytest.mark.parametrize("change", [acquit, lambda tree: None])
def test_another_version_of_the_checks_refutes_nothing(
    verdict: bytes, held: Held, ruleset: Ruleset, change: Forge
) -> None:
    other = replace(ruleset, digest=bytes(32))
    outcome = verify_report(forged(verdict, change), replace(held, ruleset=other))
    assert outcome.conclusion is Conclusion.INCOMPLETE
    assert reasons(outcome)["missing"] == ["OTHER_RULESET"]


def test_other_bodies_refute_nothing(verdict: bytes, held: Held, pause: Pause) -> None:
    """A body that was pruned: the verdict may be right, and nobody who lacks the body can tell."""
    book = pause.book.copy()
    headers = [decode_header(decode_record(record).header) for record in book.records]
    summary = next(
        at
        for at, header in enumerate(headers)
        if header.kind == Kind.SUMMARY and header.start_ms == pause.in_force[0]
    )
    book.bodies[summary] = None
    outcome = verify_report(verdict, replace(held, prefix=book.prefix()))
    assert outcome.conclusion is Conclusion.INCOMPLETE
    assert reasons(outcome)["missing"] == ["OTHER_BODIES"]


def test_a_log_that_contradicts_itself_is_quoted_with_the_checkpoint_of_then(
    pause: Pause, ruleset: Ruleset
) -> None:
    """A finding about the ledger quotes the checkpoint that was audited, which a log that went on has no more."""
    book = pause.book.copy()
    headers = [decode_header(decode_record(record).header) for record in book.records]
    tick = next(
        at
        for at, header in enumerate(headers)
        if header.kind == Kind.TICK and header.start_ms > pause.in_force[0]
    )
    book.records[tick], book.bodies[tick] = b"", None
    text = book.text.encode()
    document = to_document(conclude(text, book.evidence(), pause.in_force, ruleset))
    assert any(one.notes for one in document.ledger_findings)
    data = encode_document(document)
    assert verify_report(data, Held(text, book.prefix(), ruleset)).conclusion is Conclusion.VERIFIED
    book.minute({})
    outcome = verify_report(data, Held(text, book.prefix(), ruleset))
    assert outcome.conclusion is Conclusion.INCOMPLETE
    assert reasons(outcome)["missing"] == ["OTHER_CHECKPOINT"]


def test_a_bundle_of_everything_is_the_log_and_a_part_or_another_is_not(pause: Pause) -> None:
    book = pause.book
    whole = bundle_of(book)
    prefix: LogPrefix = prefix_in(whole, book.pins)
    assert (prefix.size, prefix.root) == (book.prefix().size, book.prefix().root)
    assert list(prefix.bodies) == book.bodies
    with pytest.raises(MirrorError) as caught:
        prefix_in(bundle_of(book, range(5), RangeOf(0, 4)), book.pins)
    assert caught.value.reason == "PART_OF_A_LOG"
    other = (whole.records[0][:-1] + b"?", *whole.records[1:])
    with pytest.raises(MirrorError) as caught:
        prefix_in(replace(whole, records=other), book.pins)
    assert caught.value.reason == "WRONG_ENTRIES"


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, pause: Pause, verdict: bytes, ruleset: Ruleset
) -> Path:
    assert ruleset == own_ruleset(), "the command's"
    folder = tmp_path_factory.mktemp("handed")
    pause.book.serve(folder / "log")
    (folder / "agreement.toml").write_text(pause.book.text)
    (folder / "all.tar").write_bytes(encode_offline_bundle(bundle_of(pause.book)))
    (folder / "verdict.json").write_bytes(verdict)
    (folder / "forged.json").write_bytes(forged(verdict, acquit))
    (folder / "none.json").write_bytes(b"{}")
    return folder


def run(folder: Path, file: str, log: str, *more: str) -> Result:
    agreement = str(folder / "agreement.toml")
    words = ["verify", "report", str(folder / file), "--agreement", agreement]
    return CliRunner().invoke(main, [*words, "--log", str(folder / log), *more])


@pytest.mark.parametrize("log", ["log", "all.tar"])
def test_the_command_reads_a_folder_or_a_bundle_and_exits_0_or_1(folder: Path, log: str) -> None:
    for file, status, word in (
        ("verdict.json", 0, "verified"),
        ("forged.json", 1, "refuted"),
        ("none.json", 1, "refuted"),
    ):
        result = run(folder, file, log)
        assert result.exit_code == status, result.output
        assert result.stdout.splitlines()[0] == f"{folder / file}: {word}"
    assert "AGREEMENT_NOT_NAMED" in run(folder, "verdict.json", log).stdout


def test_a_verdict_of_one_process_is_verified_over_two(folder: Path) -> None:
    for file in ("verdict.json", "forged.json"):
        alone, shared = (run(folder, file, "log", "--workers", count) for count in ("1", "2"))
        assert (shared.exit_code, shared.stdout) == (alone.exit_code, alone.stdout)


def test_the_command_says_who_could_not_tell_and_what_stands_in_the_way(
    folder: Path, pause: Pause
) -> None:
    digest = f"sha256:{pause.book.pins.digest.hex()}"
    named = run(folder, "verdict.json", "log", "--agreement-digest", digest, "-o", "json")
    assert json.loads(named.stdout)["conclusion"] == "verified"
    assert "AGREEMENT_NOT_NAMED" not in named.stdout
    wrong = run(folder, "verdict.json", "log", "--agreement-digest", f"sha256:{'0' * 64}")
    assert wrong.exit_code == 2
    nowhere = run(folder, "verdict.json", "nowhere")
    assert (nowhere.exit_code, nowhere.stdout) == (4, "")
    assert "nothing is concluded" in nowhere.stderr
    (folder / "not.tar").write_bytes(b"no bundle")
    assert run(folder, "verdict.json", "not.tar").exit_code == 4
