"""Steps into lines of a FLOP log."""

from pathlib import Path

import pytest

from tests.gpu.flop_log import FlopHeader, FlopLogWriter, Work, executed_between, read_flop_log
from tests.gpu.lines import LONGEST_PAUSE_MS, SHORTEST_MS, Lines
from tests.gpu.workloads.counts import Counts

BF16 = Counts.of("bf16", 100, 40)


def test_fast_steps_are_merged_until_a_line_is_long_enough() -> None:
    written: list[Work] = []
    lines = Lines(written.append)
    for at in range(0, 240, 30):
        lines.step(at, at + 30, BF16)
    lines.cut()
    assert [(work.begin_ms, work.end_ms) for work in written] == [(0, 120), (120, 240)]
    assert [(work.executed_flop, work.useful_flop) for work in written] == [(400, 160)] * 2
    assert all(work.end_ms - work.begin_ms >= SHORTEST_MS for work in written)


def test_a_pause_ends_a_line_and_is_one_of_no_operations() -> None:
    written: list[Work] = []
    lines = Lines(written.append, chip=3)
    lines.step(0, 10, BF16)
    lines.pause(10, 10 + 1.5 * LONGEST_PAUSE_MS)
    assert [(work.end_ms, work.executed_flop) for work in written] == [
        (10, 100),
        (1010, 0),
        (1510, 0),
    ]
    assert {work.chip for work in written} == {3}


def test_precisions_of_one_line_are_written_apart() -> None:
    written: list[Work] = []
    lines = Lines(written.append)
    lines.step(0, 150, BF16 + Counts.of("fp8", 7).useless())
    assert [(w.precision, w.executed_flop, w.useful_flop) for w in written] == [
        ("bf16", 100, 40),
        ("fp8", 7, 0),
    ]


@pytest.mark.parametrize("took_ms", [0.0, 0.0001, 0.0011])
def test_what_is_written_is_read_however_short_a_step_was(tmp_path: Path, took_ms: float) -> None:
    path, begin_ms = tmp_path / "x.flop.gz", 1_800_000_000_000.4996
    with FlopLogWriter(path, FlopHeader("w", {})) as log:
        lines = Lines(log.write)
        lines.step(begin_ms, begin_ms + took_ms, BF16)
        lines.pause(begin_ms + took_ms, begin_ms + 2 * took_ms)
    works = read_flop_log(path)[1]
    assert executed_between(works, begin_ms - 1, begin_ms + 1) == 100
