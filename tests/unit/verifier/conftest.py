"""What the tests of the audit share: pauses, played once."""

import pytest

from tests.unit.verifier.logbook import TRAINING, Pause, play
from verifier.ruleset import Ruleset, own_ruleset


@pytest.fixture(scope="session")
def ruleset() -> Ruleset:
    return own_ruleset()


@pytest.fixture(scope="session")
def pause() -> Pause:
    """Aurora idles, borealis trains on, cygnus goes silent."""
    return play({"borealis": TRAINING, "cygnus": None})


@pytest.fixture(scope="session")
def honest() -> Pause:
    """Everybody idles."""
    return play({})
