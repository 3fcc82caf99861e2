"""The nursery: what its children get of it and of the ledger, and how each of the three ends without the others."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from ledger.errors import ProcessError
from ledger.processes.nursery import Nursery

CHILD: Final = "behaviours"
BEHAVIOURS: Final = """
import json, os, random, signal, socket, time
from ledger.processes.parent import parent

def main(descriptor, what="tell"):
    if what == "raise":
        raise ValueError("a child's own fault")
    with parent(descriptor) as ledger:
        for question in ledger.questions():
            told = {
                "descriptors": [int(one) for one in os.listdir("/proc/self/fd") if int(one) != descriptor],
                "random": random.random(),
                "ignores": [signal.getsignal(one) == signal.SIG_IGN for one in (signal.SIGINT, signal.SIGTERM)],
                "name": open("/proc/self/comm").read(),
            }
            ledger.answer(json.dumps(told).encode())
        if what == "linger":
            time.sleep(60)
"""


@pytest.fixture(autouse=True)
def behaviours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the test's own that children run."""
    (tmp_path / f"{CHILD}.py").write_text(BEHAVIOURS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def play(scene: Callable[[Nursery], Awaitable[None]], *modules: str) -> None:
    async def run() -> None:
        with Nursery(*modules) as nursery:
            await scene(nursery)

    asyncio.run(asyncio.wait_for(run(), 60))


def await_gone(pid: int) -> None:
    """Wait until a process has ended, whoever has to bury it."""
    stat, deadline = Path(f"/proc/{pid}/stat"), time.monotonic() + 10
    while stat.exists() and ") Z " not in stat.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_has_no_descriptor_of_others_its_own_randomness_and_no_ear_for_signals_to_a_ledger() -> (
    None
):
    async def scene(nursery: Nursery) -> None:
        children = [await nursery.start(CHILD) for _ in range(3)]
        told = [json.loads(await child.ask(b"what have you?")) for child in children]
        for one in told:
            # The fourth is the folder of descriptors, while it is read.
            assert len(one["descriptors"]) == 4
            assert {0, 1, 2} < set(one["descriptors"])
            assert one["ignores"] == [True, True]
            assert one["name"] == f"{CHILD}\n"
        assert len({one["random"] for one in told}) == 3
        assert [await child.close() for child in children] == [0, 0, 0]

    play(scene, CHILD)


def test_the_nursery_has_one_thread_no_grpc_and_nothing_of_the_log_s() -> None:
    async def scene(nursery: Nursery) -> None:
        child = await nursery.start("ledger.screeners.worker")
        assert len(list(Path(f"/proc/{nursery.pid}/task").iterdir())) == 1
        assert "cygrpc" not in Path(f"/proc/{nursery.pid}/maps").read_text()
        opened = [str(one.readlink()) for one in Path(f"/proc/{nursery.pid}/fd").iterdir()]
        assert len(opened) == 6, (
            "three descriptors, the ledger's socket, and a pair that tells of deaths"
        )
        assert sum(one.startswith("socket:") for one in opened) >= 3
        await child.close()

    play(scene)


def test_a_child_that_raises_shows_its_trace_and_its_ledger_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def scene(nursery: Nursery) -> None:
        child = await nursery.start(CHILD, "raise")
        with pytest.raises(ProcessError) as died:
            await child.ask(b"anybody?")
        assert died.value.reason == "PROCESS_DIED"
        assert await child.close() == 1
        other = await nursery.start(CHILD)
        assert await other.ask(b"and you?")
        await other.close()

    play(scene, CHILD)
    assert "ValueError: a child's own fault" in capfd.readouterr().err


def test_a_child_that_does_not_end_when_it_is_hung_up_on_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ledger.processes.child._PATIENCE_S", 0.1)

    async def scene(nursery: Nursery) -> None:
        child = await nursery.start(CHILD, "linger")
        await child.ask(b"awake?")
        assert await child.close() == -signal.SIGKILL

    play(scene, CHILD)


def test_a_nursery_that_dies_takes_its_children_along_and_the_next_child_is_of_a_new_one() -> None:
    async def scene(nursery: Nursery) -> None:
        child, first = await nursery.start(CHILD), nursery.pid
        os.kill(first, signal.SIGKILL)
        await_gone(child.pid)
        with pytest.raises(ProcessError) as died:
            await child.ask(b"anybody?")
        assert died.value.reason == "PROCESS_DIED"
        assert await child.close() == -signal.SIGKILL
        while nursery.pid == first:
            try:
                other = await nursery.start(CHILD)
            except ProcessError as error:  # its death was noticed while asking
                assert error.reason == "PROCESS_DIED"  # noqa: PT017
        assert await other.ask(b"and you?")
        await other.close()

    play(scene, CHILD)


def test_a_nursery_that_cannot_import_is_an_error_with_its_reason() -> None:
    async def scene(nursery: Nursery) -> None:
        with pytest.raises(ProcessError) as died:
            await nursery.start(CHILD)
        assert died.value.reason == "PROCESS_DIED"

    play(scene, "no_such_module")


def test_a_nursery_in_which_a_module_started_a_thread_forks_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()\n"
    )

    async def scene(nursery: Nursery) -> None:
        with pytest.raises(ProcessError):
            await nursery.start(CHILD)

    play(scene, "threaded")
    assert "2 threads run where children are forked" in capfd.readouterr().err


def test_the_nursery_and_its_children_die_with_the_ledger() -> None:
    run = f"""
import asyncio, os, signal
from ledger.processes.nursery import Nursery
async def main():
    nursery = Nursery({CHILD!r})
    child = await nursery.start({CHILD!r}, "linger")
    await child.ask(b"awake?")
    print(nursery.pid, child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    ledger = subprocess.run([sys.executable, "-c", run], capture_output=True, check=False)
    assert ledger.returncode == -signal.SIGKILL, ledger.stderr
    for pid in map(int, ledger.stdout.split()):
        await_gone(pid)
