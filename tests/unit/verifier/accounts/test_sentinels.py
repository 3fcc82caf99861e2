"""Zero is no reading: a chip or a node that answers draws power, so that nothing follows from a zero but doubt."""

import pytest

from tests.unit.verifier.accounts.told import IDLE, PEAK, Window, party
from verifier.accounts.chips import ChipTable
from verifier.accounts.observations import Impossible
from verifier.accounts.party import PartyAccount


def seen(account: PartyAccount) -> set[Impossible]:
    return {observation.what for observation in account.observations}


def test_an_energy_counter_that_stands_still_bounds_and_covers_nothing(table: ChipTable) -> None:
    found = party(table, Window(energy_j=(5.0, 5.0), taken=0))
    assert found.most_flop == pytest.approx(PEAK * 60)
    assert found.coverage == 0
    assert seen(found) == {Impossible.COUNTER_STUCK}


def test_an_energy_counter_that_stands_still_prices_no_gap(table: ChipTable) -> None:
    moving = Window(0, energy_j=(0.0, 4_000.0)), Window(3, energy_j=(12_000.0, 16_000.0))
    still = Window(0, energy_j=(0.0, 4_000.0)), Window(3, energy_j=(4_000.0, 8_000.0))
    priced = party(table, *moving, minutes=4)
    assert priced.unaccounted_flop == pytest.approx(8_000 / 0.20e-12)
    assert party(table, *still, minutes=4).unaccounted_flop == pytest.approx(PEAK * 120)


@pytest.mark.parametrize("joules", [0.0, -0.0, -1.0])
def test_wall_energy_of_nothing_is_no_reading(table: ChipTable, joules: float) -> None:
    found = party(table, Window(wall_j=joules, taken=0))
    assert found.most_flop == pytest.approx(PEAK * 60)
    assert found.coverage == 0
    assert seen(found) == {Impossible.WALL}


@pytest.mark.parametrize("watts", [0.0, -0.0, -70.0, float("-inf")])
def test_no_chip_is_idle_by_power_at_or_below_zero(table: ChipTable, watts: float) -> None:
    barely = {**IDLE, "tensor_active_mean": 0.0005, "sm_clock_tensor_mean": 1755.0}
    idle = party(table, Window(features=barely))
    odd = party(table, Window(features={**barely, "power_mean": watts}))
    assert idle.training_capable.lower_flop == 0
    assert odd.training_capable.lower_flop == odd.lower_flop > 0
    assert seen(odd) == {Impossible.POWER}
