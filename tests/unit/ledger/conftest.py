"""What the tests of the ledger share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.ledger.cast import Cast, FailingJournal, FailingStore, Hours


@pytest.fixture
def cast() -> Cast:
    return Cast()


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FailingJournal]:
    (tmp_path / "private").mkdir()
    opened = FailingJournal(tmp_path / "private")
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> FailingStore:
    return FailingStore(tmp_path)
