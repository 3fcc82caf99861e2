"""What calls of the driver cost."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pynvml
import pytest

from tests.gpu import call_table
from tests.gpu.call_table import Call
from tests.gpu.calls import MOST_CALLS, REFUSED_CALLS, measure, percentile
from tests.gpu.fake import fake_driver

NO_SYMBOL = 13


def ticking(step_ns: int) -> Callable[[], int]:
    """Return a clock that moves on by a step each time it is asked."""

    def times() -> Iterator[int]:
        at = 0
        while True:
            yield at
            at += step_ns

    found = times()
    return lambda: next(found)


def test_a_call_is_made_often_or_for_long_enough() -> None:
    quick = measure(Call("x", lambda: 7), ticking(1_000))
    assert (quick.count, quick.median_us, quick.error, quick.answer) == (MOST_CALLS, 1.0, None, "7")
    slow = measure(Call("x", lambda: 7), ticking(10_000_000))
    assert 1 < slow.count < 10
    assert slow.median_us == 10_000


@pytest.mark.parametrize(
    ("raised", "error"),
    [(pynvml.NVMLError(3), 3), (AttributeError("no such call"), "AttributeError")],
)
def test_a_refusal_is_a_row_with_its_code(raised: Exception, error: int | str) -> None:
    def refuse() -> object:
        raise raised

    found = measure(Call("x", refuse), ticking(1_000))
    assert (found.count, found.error, found.answer) == (REFUSED_CALLS, error, "")


def test_what_a_call_needs_beforehand_is_not_timed_and_may_be_refused() -> None:
    asked: list[str] = []

    def prepare() -> object:
        asked.append("before")
        return None

    found = measure(Call("x", lambda: asked.append("call"), prepare), ticking(1_000))
    assert (asked[0], asked.count("before"), found.count) == ("before", 1, len(asked) - 1)

    def refuse() -> object:
        raise pynvml.NVMLError(3)

    refused = measure(Call("x", lambda: asked.append("late"), refuse), ticking(1_000))
    assert (refused.count, refused.error, "late" in asked) == (0, 3, False)


def test_percentiles_are_of_the_values_themselves() -> None:
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile([5], 0.99) == percentile([5], 0.5) == 5
    assert percentile([1, 2, 3, 4], 0.5) == 2


def test_nothing_of_the_device_is_ever_set() -> None:
    called: set[str] = set()
    for path in Path(call_table.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                called.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                called.add(node.value)
    called = {word for word in called if word.startswith(("nvml", "nvidia-smi"))}
    assert len(called) > 40
    for word in called:
        assert not set_or_reset(word), word


def set_or_reset(word: str) -> bool:
    parts = ("Set", "Reset", "Clear", "Create", "Destroy", "Discover", "nvidia-smi")
    return any(part in word for part in parts)


@pytest.mark.parametrize(
    "word", ["nvmlDeviceSetPowerManagementLimit", "nvmlDeviceResetGpuLockedClocks"]
)
def test_a_call_that_sets_something_would_be_found(word: str) -> None:
    assert set_or_reset(word)


def calls(tmp_path: Path, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **fake_driver(tmp_path / "driver"), **env}
    words = [sys.executable, "-m", "tests.gpu", "calls", "--json", str(tmp_path / "calls.json")]
    words += more
    return subprocess.run(words, env=variables, capture_output=True, text=True, check=False)


def test_every_call_of_a_driver_is_measured_or_refused_by_name(tmp_path: Path) -> None:
    done = calls(tmp_path, FAKE_NVML_FAIL="nvmlDeviceGetPowerUsage:999")
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "calls.json").read_text())
    (chip,) = table["chips"]
    assert (table["format"], table["driver"]) == ("stillwatch.calls/1", "999.99-fake")
    assert "measuring" not in table
    rows = {row["call"]: row for row in chip["calls"]}
    assert len(rows) == len(chip["calls"]) > 80
    energy = rows["nvmlDeviceGetTotalEnergyConsumption"]
    assert (energy["error"], energy["count"] > REFUSED_CALLS) == (None, True)
    assert 0 < energy["median_us"] <= energy["p99_us"]
    assert rows["nvmlDeviceGetPowerUsage"]["error"] == 999
    assert rows["nvmlDeviceGetPersistenceMode"]["error"] == NO_SYMBOL


def test_a_call_that_hangs_is_known_by_its_name(tmp_path: Path) -> None:
    variables = {**os.environ, **fake_driver(tmp_path / "driver")}
    variables["FAKE_NVML_FAIL"] = "nvmlDeviceGetUtilizationRates:-1"
    target = tmp_path / "calls.json"
    words = [sys.executable, "-m", "tests.gpu", "calls", "--json", str(target)]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(words, env=variables, capture_output=True, check=False, timeout=4)
    table = json.loads(target.read_text())
    assert table["measuring"] == "nvmlDeviceGetUtilizationRates"
    assert table["chips"][0]["calls"][0]["call"] == "nvmlDeviceGetTotalEnergyConsumption"


def test_nothing_is_measured_beside_a_workload_that_does_not_begin(tmp_path: Path) -> None:
    done = calls(tmp_path, "--beside", "nothing")
    assert (done.returncode, "did not begin" in done.stderr) == (1, True)
    assert not (tmp_path / "calls.json").exists()


def test_without_a_driver_it_says_so(tmp_path: Path) -> None:
    done = calls(tmp_path, FAKE_NVML_DATA="/nowhere")
    assert (done.returncode, "no driver to ask" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr
