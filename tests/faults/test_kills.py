"""Three hundred kills, of a ledger and its processes, of witnesses and of an agent: `make faults`."""

from pathlib import Path

import pytest

from tests.faults.killing import VICTIMS, play


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_fifty_kills_lose_and_double_nothing_and_no_two_checkpoints_disagree(
    tmp_path: Path, seed: int
) -> None:
    told = play(tmp_path, kills=50, seed=seed)
    print(told)  # noqa: T201
    assert len(told.kills) >= len(VICTIMS) - 1
    assert told.acknowledged > 200
    assert told.interrupted > 10
    assert told.windows > 5
