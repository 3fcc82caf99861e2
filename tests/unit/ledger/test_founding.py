"""Leaves 0 and 1."""

from pathlib import Path

import pytest

from ledger.errors import JournalError, SetupError
from ledger.folder import LedgerFolder
from ledger.founding import found, read_agreement
from statements.errors import PinsError
from statements.header import decode_header
from statements.kinds import Kind
from statements.record import decode_record
from tests.unit.ledger.cast import ORIGIN, Cast, FailingJournal, Hours


@pytest.fixture
def folder(tmp_path: Path, cast: Cast) -> LedgerFolder:
    made = LedgerFolder.create(tmp_path / "log", ORIGIN)
    cast.signer, cast.ledger_key = made.signer, made.key
    cast.__post_init__()
    return made


def kinds(journal: FailingJournal) -> list[tuple[Kind, int]]:
    headers = [
        decode_header(decode_record(record).header)
        for record, _ in journal.leaves(0, journal.size())
    ]
    return [(Kind(header.kind), header.sequence) for header in headers]


def test_leaf_0_is_the_agreement_and_leaf_1_the_opening(
    folder: LedgerFolder, journal: FailingJournal, cast: Cast, hours: Hours
) -> None:
    pins = found(folder, journal, cast.text, hours, cast.draw.randbytes)
    assert pins == cast.pins
    assert kinds(journal) == [(Kind.AGREEMENT, 0), (Kind.OPENING, 1)]
    assert read_agreement(journal) == cast.text


@pytest.mark.parametrize("failures", [["before"], ["after"], ["", "before"]])
def test_founding_that_stopped_is_gone_on_with(
    folder: LedgerFolder, journal: FailingJournal, cast: Cast, hours: Hours, failures: list[str]
) -> None:
    journal.failures = failures
    with pytest.raises(JournalError):
        found(folder, journal, cast.text, hours, cast.draw.randbytes)
    found(folder, journal, cast.text, hours, cast.draw.randbytes)
    assert kinds(journal) == [(Kind.AGREEMENT, 0), (Kind.OPENING, 1)]


def test_a_log_is_founded_once(
    folder: LedgerFolder, journal: FailingJournal, cast: Cast, hours: Hours
) -> None:
    found(folder, journal, cast.text, hours, cast.draw.randbytes)
    with pytest.raises(SetupError, match="serves one agreement") as refused:
        found(folder, journal, cast.text, hours, cast.draw.randbytes)
    assert refused.value.reason == "LOG_BEGUN"
    assert journal.size() == 2


def test_founding_that_stopped_does_not_go_on_with_another_agreement(
    folder: LedgerFolder, journal: FailingJournal, cast: Cast, hours: Hours
) -> None:
    journal.failures = ["", "before"]
    with pytest.raises(JournalError):
        found(folder, journal, cast.text, hours, cast.draw.randbytes)
    with pytest.raises(SetupError) as refused:
        found(folder, journal, cast.text + b"\n# more", hours, cast.draw.randbytes)
    assert refused.value.reason == "LOG_BEGUN"


def test_an_agreement_that_does_not_pin_the_ledger_founds_nothing(
    folder: LedgerFolder, journal: FailingJournal, hours: Hours
) -> None:
    other = Cast()
    with pytest.raises(SetupError):
        found(folder, journal, other.text, hours, other.draw.randbytes)
    with pytest.raises(PinsError):
        found(folder, journal, b"not = [toml", hours, other.draw.randbytes)
    assert journal.size() == 0


def test_a_log_without_an_agreement_is_told(journal: FailingJournal) -> None:
    for content in (None, b"\xff\xff"):
        with pytest.raises(SetupError, match="ledger init DIR --agreement") as refused:
            read_agreement(journal)
        assert refused.value.reason == "NO_AGREEMENT"
        journal.append(journal.size(), [(bytes(380), content)])
