"""Work that is shared out: nothing that is concluded depends on over whom, and nothing on a part is concluded."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.verifier.logbook import (
    IDLE,
    MINUTE,
    POWER_ONLY,
    TRAINING,
    Pause,
    Work,
    play,
)
from verifier.accounts import party
from verifier.accounts.errors import ColumnsError
from verifier.errors import VerifierError
from verifier.mirror.errors import InconsistentLogError
from verifier.report.document import encode_document, to_document
from verifier.rows.rows import Rows
from verifier.ruleset import Ruleset
from verifier.verdict import conclude
from verifier.workers import ALONE, MOST_AHEAD, WorkerError, open_workers, share_out

FEW_CHIPS = 24
"""A share of these logs: a node's three windows."""


class LastFirst(Executor):
    """Does no work before somebody waits for it, and then what was asked for last."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        executor = self

        class Waited(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                while executor.asked:
                    executor.asked.pop()()
                return super().result(timeout)

        future = Waited()
        self.asked.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future


@pytest.fixture(scope="module")
def two() -> Iterator[Executor]:
    with open_workers(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def three() -> Iterator[Executor]:
    with open_workers(3) as executor:
        yield executor


@pytest.fixture(scope="module")
def busy() -> Pause:
    """Windows of several layouts, and of every conduct."""
    return play({"borealis": replace(TRAINING, slots=True), "cygnus": POWER_ONLY}, minutes=18)


def defective(pause: Pause) -> Pause:
    """A log with a fork, windows that overlap, and bodies that are gone, cut, and not their headers'."""
    book = pause.book.copy()
    clone = replace(book.nodes["borealis/0"])
    book.minute({"borealis": Work(tensor=1.7, power_w=-3.0)})
    for work in (TRAINING, IDLE):
        book.log(book.window(clone, book.now_ms - MINUTE, work))
    again = book.nodes["aurora/1"]
    book.log(book.window(again, book.now_ms - 3 * MINUTE, TRAINING))
    for _ in range(4):
        book.minute({})
    held = [at for at, body in enumerate(book.bodies) if body is not None and len(body) > 1000]
    chance = random.Random(7)
    for at in chance.sample(held, 12):
        body = book.bodies[at]
        assert body is not None
        book.bodies[at] = chance.choice([None, body[:-40], body[:300] + b"\x7f" + body[301:]])
    return Pause(book, (pause.in_force[0], book.now_ms - 3 * MINUTE))


def concluded(pause: Pause, ruleset: Ruleset, executor: Executor) -> bytes:
    book = pause.book
    verdict = conclude(
        book.text.encode(), book.evidence(), pause.in_force, ruleset, executor=executor
    )
    return encode_document(to_document(verdict))


def test_one_two_or_three_workers_come_to_the_same_bytes(
    busy: Pause, ruleset: Ruleset, two: Executor, three: Executor
) -> None:
    for pause in (busy, defective(busy)):
        wanted = concluded(pause, ruleset, ALONE)
        with mock.patch.object(party, "SHARE", FEW_CHIPS):
            for executor in (ALONE, two, three, LastFirst()):
                assert concluded(pause, ruleset, executor) == wanted


def test_a_log_with_defects_shows_them_all(busy: Pause, ruleset: Ruleset) -> None:
    """So that the test above is of what it says."""
    found = concluded(defective(busy), ruleset, ALONE)
    for check in (
        b"chain_fork",
        b"bodies_missing",
        b"impossible_values",
        b"training-cap",
        b"OVERLAPPING_WINDOWS",
    ):
        assert check in found, check


@settings(max_examples=15)
@given(
    told=st.lists(
        st.tuples(st.floats(0, 0.999), st.floats(0, 0.999), st.integers(1, 255), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    share=st.integers(1, 200),
)
def test_whatever_byte_is_changed_two_workers_come_to_what_one_comes_to(
    busy: Pause,
    ruleset: Ruleset,
    two: Executor,
    told: list[tuple[float, float, int, bool]],
    share: int,
) -> None:
    book = busy.book.copy()
    for which, where, bits, in_record in told:
        held: list[bytes] | list[bytes | None] = book.records if in_record else book.bodies
        row = 1 + int(which * (len(held) - 1))  # the agreement stays
        data = bytearray(held[row] or b"\0")
        data[int(where * len(data))] ^= bits
        held[row] = bytes(data)
    pause = Pause(book, busy.in_force)

    def outcome(executor: Executor) -> bytes:
        try:
            return concluded(pause, ruleset, executor)
        except VerifierError as error:
            return f"{error.reason}: {error}".encode()

    wanted = outcome(ALONE)
    with mock.patch.object(party, "SHARE", share):
        assert outcome(two) == wanted


def _die(_: int) -> int:
    os._exit(3)


def _refuse(_: int) -> int:
    raise ColumnsError("ROW_COUNT", "a row too many")


def test_a_worker_that_dies_ends_the_work_with_a_reason() -> None:
    with open_workers(2) as executor, pytest.raises(WorkerError, match="died") as caught:
        list(share_out(executor, _die, range(4)))
    assert caught.value.reason == "WORKER_DIED"


def test_what_a_worker_refuses_is_refused_as_if_it_had_been_done_here(two: Executor) -> None:
    for executor in (ALONE, two):
        with pytest.raises(ColumnsError, match="a row too many") as caught:
            list(share_out(executor, _refuse, [1]))
        assert caught.value.reason == "ROW_COUNT"


def test_every_error_that_a_worker_may_raise_can_be_handed_over() -> None:
    def leaves(error: type[VerifierError]) -> Iterator[type[VerifierError]]:
        yield error
        for leaf in error.__subclasses__():
            yield from leaves(leaf)

    for error in leaves(VerifierError):
        notes = (b"one", b"other") if issubclass(error, InconsistentLogError) else ()
        raised = error("CODE", "words", *notes)
        again = pickle.loads(pickle.dumps(raised))
        assert (type(again), again.reason, str(again)) == (error, "CODE", "words")


def test_only_so_many_shares_are_under_way_at_once() -> None:
    executor, drawn = LastFirst(), 0

    def shares() -> Iterator[int]:
        nonlocal drawn
        while drawn < 1000:
            drawn += 1
            yield drawn

    results = share_out(executor, abs, shares())
    assert next(results) == 1
    assert drawn == MOST_AHEAD + 1
    assert list(results) == list(range(2, 1001))


def test_rows_are_handed_over_without_the_buffers_in_which_they_lie() -> None:
    rows: Rows[bytes | None] = Rows.of([b"a" * 100_000, b"bc", None, b"", b"def"])
    some = rows[1:]
    packed = pickle.dumps(some)
    assert len(packed) < 2000
    again = pickle.loads(packed)
    assert list(again) == list(some) == [b"bc", None, b"", b"def"]


ENDLESS = """
import os, time
from verifier.workers import open_workers
if __name__ == "__main__":
    with open_workers(2) as executor:
        print(*{executor.submit(os.getpid).result() for _ in range(8)}, flush=True)
        time.sleep(60)
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_audit_however_that_ends(by: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert process.stdout is not None
    with process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert pids
        assert all(_alive(pid) for pid in pids)
        process.send_signal(by)
        process.wait(20)
    for _ in range(200):
        if not any(_alive(pid) for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError("a worker outlived its audit")
