"""What the tests of the accounts share."""

from pathlib import Path

import pytest

from verifier.accounts.chips import ChipTable, read_chip_table


@pytest.fixture(scope="session")
def table(root: Path) -> ChipTable:
    return read_chip_table((root / "policies/reference/chips.toml").read_bytes())
