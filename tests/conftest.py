"""Inputs and switches that all tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

settings.register_profile("stillwatch", deadline=None, max_examples=60)
settings.load_profile("stillwatch")

# A shell has what it runs in the background ignore interrupts, and so would every command that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

_LONGEST_ID = 60
ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave campaigns to their own targets unless they were asked for with ``-m``."""
    if config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="a campaign: run `make faults`")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes and long words after their argument: keys are drawn anew each time, and workers compare names."""
    return argname if isinstance(val, bytes) or len(str(val)) > _LONGEST_ID else None


@pytest.fixture(autouse=True)
def _as_at_the_start() -> Iterator[None]:
    """Undo what a command set of logging and signals: which tests share a process is chance."""
    yield
    structlog.reset_defaults()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: {what}")
    return Path(value)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def traces() -> Path:
    """Recorded telemetry of others; docs/results/mlperf.md says where it is published."""
    return _folder("STILLWATCH_TRACES", "recorded MLPerf power logs, see docs/results/mlperf.md")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Test vectors of others; docs/conformance.md says where they are published."""
    return _folder("STILLWATCH_VECTORS", "vectors of other projects, see docs/conformance.md")
