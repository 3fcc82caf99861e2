"""What the chips of which nobody speaks may have done, of which there may be thousands."""

import math

from hypothesis import given
from hypothesis import strategies as st

from verifier.accounts.gaps import Unspoken, times
from verifier.ruleset import own_ruleset

TABLE = own_ruleset().table


@given(st.integers(0, 4096), st.floats(0, 1e25))
def test_a_number_is_taken_so_many_times_without_rounding(count: int, value: float) -> None:
    found = times(count, value)
    assert math.fsum(found) == math.fsum([value] * count)
    assert len(found) <= 13


def test_thousands_of_silent_chips_cost_an_audit_no_more_than_a_few() -> None:
    """Or whoever enrols them, and says little, has an audit hold a number a chip and window."""
    models = (0, 1) * 2048
    unspoken = Unspoken(models, TABLE)
    found = unspoken.most(96, 60_000)
    assert len(found) <= 26
    peaks = [TABLE.chips[model].peak_flop_per_s * 60_000 / 1000 for model in models[96:]]
    assert math.fsum(found) == math.fsum(peaks)
