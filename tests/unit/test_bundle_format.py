"""The page on offline bundles says what their reader and their verification do."""

import re
from pathlib import Path

import pytest

from statements import offline_bundle
from statements.offline_bundle import BUNDLE_LIMIT, RECORDS_LIMIT
from verifier.offline.cli import exit_status
from verifier.offline.outcome import Conclusion

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "bundle-format.md").read_text()
SOURCES = [
    Path(offline_bundle.__file__),
    *sorted((Path(__file__).parents[2] / "verifier/offline").glob("*.py")),
]
REFUSALS = re.compile(r'(?:OfflineBundleError|VerifierError)\(\s*"([A-Z_]+)"')
NOTES = re.compile(r'\.(?:refute|miss)\(\s*"([A-Z_]+)"')
OF_RECORDS = {"BODY_NOT_GIVEN", "KEY_NOT_GIVEN"}
"""What only `verify record` says; the guide tells of it."""


def test_the_files_are_those_of_the_page_in_order() -> None:
    listed = re.findall(r"^\| `([a-z.]+)` \|", PAGE, re.MULTILINE)
    assert listed == list(offline_bundle._LIMITS)


def test_the_limits_are_those_of_the_page() -> None:
    assert f"at most {RECORDS_LIMIT:,} records and {BUNDLE_LIMIT:,} bytes" in PAGE


def test_every_reason_that_is_given_is_on_the_page() -> None:
    given: set[str] = set()
    for source in SOURCES:
        text = source.read_text()
        given |= {*REFUSALS.findall(text), *NOTES.findall(text)}
    assert len(given) > 25, "they were found"
    listed = set(re.findall(r"`([A-Z_]{5,})`", PAGE))
    assert given - OF_RECORDS <= listed


@pytest.mark.parametrize("conclusion", list(Conclusion))
def test_the_exit_statuses_are_those_of_the_auditors_guide(conclusion: Conclusion) -> None:
    guide = (DOCS / "guides/auditor.md").read_text()
    row = rf"^\| `{exit_status(conclusion)}` \| {conclusion.value}:"
    assert re.search(row, guide, re.MULTILINE)
