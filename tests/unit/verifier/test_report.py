import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tests.unit.verifier.logbook import Pause
from verifier.checks.interface import Check, LedgerCheck
from verifier.checks.registry import CHECKS, LEDGER_CHECKS
from verifier.report.document import (
    Document,
    ReportError,
    decode_document,
    encode_document,
    to_document,
)
from verifier.report.registry import FORMATS
from verifier.report.terminal import Terminal
from verifier.ruleset import Ruleset
from verifier.verdict import conclude


@pytest.fixture(scope="module")
def document(pause: Pause, ruleset: Ruleset) -> Document:
    evidence = pause.book.evidence()
    return to_document(conclude(pause.book.text.encode(), evidence, pause.in_force, ruleset))


def test_the_document_survives_its_bytes(document: Document) -> None:
    data = encode_document(document)
    assert encode_document(decode_document(data)) == data


def test_the_bytes_are_canonical(document: Document) -> None:
    data = encode_document(document)
    tree = json.loads(data)
    again = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data.decode() == again + "\n"
    assert FORMATS["json"].render(document) == data.decode()


def test_the_names_are_those_that_are_promised(document: Document) -> None:
    tree = json.loads(encode_document(document))
    assert set(tree) >= {
        "agreement", "logs", "bodies_root", "ruleset", "period", "stage", "stage_since", "parties",
        "ledger_findings",
    }  # fmt: skip
    assert set(tree["agreement"]) >= {"id", "digest"}
    assert set(tree["logs"][0]) >= {"origin", "size", "root"}
    assert set(tree["period"]) == {"from", "to"}
    party = next(party for party in tree["parties"] if party["party"] == "borealis")
    assert set(party) >= {
        "party", "verdict", "trust", "telemetry", "coverage", "compute", "tiers",
        "detection_limit_flop", "false_alarm_per_year", "cannot_see", "obligations", "findings",
    }  # fmt: skip
    assert set(party["compute"]) >= {
        "lower_flop", "estimate_flop", "upper_flop", "unaccounted_flop", "training_capable",
    }  # fmt: skip
    assert set(party["tiers"]) == {"T0", "T1", "T2"}
    assert set(party["obligations"][0]) >= {"id", "outcome", "measured", "limit", "would_resolve"}
    assert set(party["findings"][0]) >= {
        "id", "check", "class", "severity", "subject", "from", "to", "summary", "evidence",
    }  # fmt: skip
    assert set(party["findings"][0]["evidence"][0]) == {"log", "index", "digest"}


def test_times_are_rfc_3339_and_flop_are_numbers(document: Document) -> None:
    tree = json.loads(encode_document(document))
    assert tree["period"] == {"from": "2026-06-01T12:04:00Z", "to": "2026-06-01T12:14:00Z"}
    assert isinstance(tree["parties"][1]["compute"]["lower_flop"], float)


def test_people_are_told_everything_that_matters(document: Document) -> None:
    shown = " ".join(Terminal(width=100).render(document).split())
    for words in (
        "aurora COMPLIANT",
        "borealis VIOLATION",
        "cygnus NOT ASSESSED",
        "telemetry simulated",
        "if the party's own counters are true",
        "could be hidden from this evidence",
        "not detectable here",
        "operator's own word",
        "training-cap VIOLATED",
        "would settle it",
    ):
        assert words in shown
    for finding in document.parties[1].findings:
        assert finding.id in shown


def test_a_narrow_terminal_loses_no_words(document: Document) -> None:
    wide = "".join(Terminal(width=200).render(document).split())
    narrow = "".join(Terminal(width=60).render(document).split())
    assert wide.replace("─", "") == narrow.replace("─", "")


@pytest.mark.parametrize(
    "name", ["\x1b[2J\x1b[1;1Haurora  COMPLIANT", "x\ny", "\x9b31m", "\u202egood", "\u200b", "\x7f"]
)
def test_no_name_moves_a_terminal_or_hides_from_its_reader(document: Document, name: str) -> None:
    """A node is called what its party calls it."""
    tree = json.loads(encode_document(document))
    borealis = next(party for party in tree["parties"] if party["party"] == "borealis")
    borealis["findings"][0]["subject"] = f"node {name}"
    borealis["why"] = [f"of {name}"]
    shown = Terminal(width=200).render(decode_document(json.dumps(tree).encode()))
    assert name not in shown
    seen = set(shown) - {"\n"}
    assert all(one.isprintable() for one in seen), seen


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format": "other"}', b"\xff"])
def test_what_is_no_verdict_is_refused(data: bytes) -> None:
    with pytest.raises(ReportError) as caught:
        decode_document(data)
    assert caught.value.reason == "NOT_A_VERDICT"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_verdict_with_a_number_that_is_none_is_refused(document: Document, number: str) -> None:
    tree = json.loads(encode_document(document))
    tree["parties"][0]["detection_limit_flop"] = "#"
    with pytest.raises(ReportError):
        decode_document(json.dumps(tree).replace('"#"', number).encode())


def test_a_verdict_with_an_unknown_field_is_refused(document: Document) -> None:
    tree = json.loads(encode_document(document))
    tree["parties"][0]["extra"] = 1
    with pytest.raises(ReportError):
        decode_document(json.dumps(tree).encode())


def _names(model: type[BaseModel]) -> set[str]:
    """Return every name that a document may use, nested ones included."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(str(field.serialization_alias or name))
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found |= _names(inner)
    return found


def test_the_page_names_every_field_and_every_check(root: Path) -> None:
    page = (root / "docs/verdict.md").read_text()
    named = _names(Document) | {check.id for check in CHECKS} | {c.id for c in LEDGER_CHECKS}
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_the_page_tells_of_each_check_what_it_looks_for(root: Path) -> None:
    page = (root / "docs/verdict.md").read_text()
    every: list[Check | LedgerCheck] = [*CHECKS, *LEDGER_CHECKS]
    for check in every:
        assert f"| `{check.id}` | {check.looks_for} |" in page
