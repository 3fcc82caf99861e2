from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[4] / "policies" / "agreements" / "frontier-pause.toml"


@pytest.fixture(scope="session")
def text() -> str:
    return TEMPLATE.read_text()
