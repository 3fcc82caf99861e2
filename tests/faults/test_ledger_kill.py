"""A ledger killed a hundred times and more: `make faults`."""

from pathlib import Path

import pytest

from tests.unit.ledger.killing import kill_and_resume


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_what_a_ledger_acknowledged_outlives_ten_kills_each(tmp_path: Path, seed: int) -> None:
    told = kill_and_resume(tmp_path, kills=10, clients=5, seed=1000 + seed)
    assert told.acknowledged > 400
    assert told.interrupted > 10
