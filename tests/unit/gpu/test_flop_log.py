"""The log of what a workload executed."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gpu.flop_log import (
    FlopHeader,
    FlopLogError,
    FlopLogWriter,
    Work,
    executed_between,
    read_flop_log,
)

HEADER = FlopHeader("product", {"m": "8192"}, {"chip": "H100"})
HEAD = '{"format": "stillwatch.flop/1", "workload": "w", "shape": {}, "labels": {}}\n'
COLUMNS = "begin_ms,end_ms,chip,precision,executed_flop,useful_flop\n"
WORK = Work(1_800_000_000_000.25, 1_800_000_000_500.0, 0, "bf16", 1e15, 9e14)


def write(path: Path, *works: Work) -> Path:
    with FlopLogWriter(path, HEADER) as log:
        for work in works:
            log.write(work)
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    works = (WORK, replace(WORK, chip=1, precision="fp8", useful_flop=0.0))
    assert read_flop_log(write(tmp_path / "x.flop.gz", *works)) == (HEADER, works)


def test_work_is_split_evenly_over_its_time() -> None:
    works = [Work(0, 1_000, 0, "bf16", 100, 0), Work(500, 1_500, 1, "fp8", 1_000, 0)]
    assert executed_between(works, 0, 2_000) == 1_100
    assert executed_between(works, 250, 750) == 50 + 250
    assert executed_between(works, 250, 750, chip=0) == 50
    assert executed_between(works, 2_000, 3_000) == 0


@pytest.mark.parametrize(
    "work",
    [
        replace(WORK, end_ms=WORK.begin_ms),
        replace(WORK, end_ms=WORK.begin_ms + 60_001),
        replace(WORK, precision="fp3"),
        replace(WORK, useful_flop=1.1e15),
        replace(WORK, useful_flop=-1.0),
        replace(WORK, executed_flop=float("inf")),
        replace(WORK, chip=-1),
    ],
)
def test_what_no_workload_did_is_refused(tmp_path: Path, work: Work) -> None:
    with pytest.raises(FlopLogError):
        write(tmp_path / "x.flop.gz", work)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"format": "other/1"}\n',
        HEAD + "begin_ms\n",
        HEAD + COLUMNS + "1,2,0,bf16,1\n",
        HEAD + COLUMNS + "1,2,0,bf16,1,2\n",
    ],
)
def test_a_damaged_log_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.flop.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(FlopLogError, match=r"x\.flop\.gz"):
        read_flop_log(path)


def test_a_log_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flop.gz", *[WORK] * 1_000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FlopLogError):
        read_flop_log(path)
