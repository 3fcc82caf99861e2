import re
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[4] / "policies" / "agreements" / "frontier-pause.toml"
_POLICY = re.compile(r'policy = """\n.*?"""', re.DOTALL)


@pytest.fixture(scope="session")
def example() -> str:
    """The worked example as it is published."""
    return TEMPLATE.read_text()


@pytest.fixture(scope="session")
def text(example: str) -> str:
    """The worked example without its witnesses, of whom nobody has a key."""
    return _POLICY.sub('policy = """\nquorum none\n"""', example)
