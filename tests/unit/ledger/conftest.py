"""What the tests of the ledger share."""

import pytest

from tests.unit.ledger.cast import Cast, Hours


@pytest.fixture
def cast() -> Cast:
    return Cast()


@pytest.fixture
def hours() -> Hours:
    return Hours()
