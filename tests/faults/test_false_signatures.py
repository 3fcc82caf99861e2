"""A long hunt for a signature that crypto_mb accepts and ``cryptography`` refuses."""

import random

import pytest

from statements.errors import BackendError
from statements.verification.crypto_mb import load
from tests.unit.statements.verification.comparison import compare
from tests.unit.statements.verification.edge_cases import edge_cases


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_no_edge_case_of_many_is_accepted_that_cryptography_refuses(seed: int) -> None:
    try:
        backend = load()
    except BackendError as error:
        pytest.skip(f"crypto_mb cannot be used here: {error}")
    cases = list(edge_cases(seed, 4))
    random.Random(seed).shuffle(cases)
    assert len(cases) > 10_000
    compare(backend, cases)
