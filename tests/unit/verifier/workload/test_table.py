"""The table of power logs, on logs made here whose truth is known."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from verifier.workload.table import main, markdown, read_series, rows

Watts = Callable[[int], float]


def humming(second: int) -> float:
    return 5000 + 300 * float(np.sin(2 * np.pi * (second + 0.5) / 10.77)) + second % 3


def serving_log(path: Path, watts: Watts, seconds: int = 400, modified: int = 0) -> None:
    start = datetime(2024, 7, 1, 12, 0, 0, tzinfo=UTC)
    lines = ["time_local,watts,power_factor"]
    for second in range(seconds):
        at = (start + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        lines.append(f"{at},{watts(second)},0.99")
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=modified) as log:
        log.write("\n".join(lines).encode())


def training_log(path: Path, nodes: int) -> None:
    lines = ["time_ms,sensor,watts"]
    for second in range(0, 800, 2):
        lines += [f"{second * 1000},node_{n + 1},{humming(second) + n}" for n in range(nodes)]
        lines.append(f"{second * 1000},sw_1,900")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_files_of_one_content_count_once(tmp_path: Path) -> None:
    serving_log(tmp_path / "a-99.csv.gz", humming, modified=1)
    serving_log(tmp_path / "a-99.9.csv.gz", humming, modified=2)
    assert (tmp_path / "a-99.csv.gz").read_bytes() != (tmp_path / "a-99.9.csv.gz").read_bytes()
    assert [row.name for row in rows(tmp_path)] == ["a-99.9.csv.gz"]


def test_one_node_has_a_period_and_no_coherence(tmp_path: Path) -> None:
    serving_log(tmp_path / "a.csv.gz", humming)
    (row,) = rows(tmp_path)
    assert row.line is not None
    assert row.line.period_s == pytest.approx(10.77, rel=0.01)
    assert row.coherence == "not defined"
    assert row.windows[0].count == 6
    assert row.windows[0].strong == 6


def test_nodes_of_a_training_log_cohere_and_switches_are_left_out(tmp_path: Path) -> None:
    training_log(tmp_path / "t.csv.gz", nodes=3)
    (row,) = rows(tmp_path)
    assert row.nodes == 3
    assert row.coherence == "1.00"


def test_watts_at_or_below_zero_are_no_readings(tmp_path: Path) -> None:
    serving_log(tmp_path / "a.csv.gz", lambda second: humming(second) if second % 2 else -1.0)
    (series,) = read_series(tmp_path / "a.csv.gz").values()
    assert len(series.times_s) == 200
    assert series.watts.min() > 0


def test_a_log_without_a_line_says_why(tmp_path: Path) -> None:
    serving_log(tmp_path / "a.csv.gz", lambda _: 5000.0)
    serving_log(tmp_path / "b.csv.gz", lambda _: 0.0)
    text = "\n".join(markdown(rows(tmp_path)))
    assert "none: power does not change" in text
    assert "none: no node" in text
    assert "0 of 0 logs read whole" in text


def test_the_command_prints_a_row_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serving_log(tmp_path / "a.csv.gz", humming)
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "| a | 1 | 400 | 10.7" in shown
    assert "1 of 1 logs read whole" in shown


def test_the_command_without_a_folder_says_what_it_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "usage" in capsys.readouterr().err
