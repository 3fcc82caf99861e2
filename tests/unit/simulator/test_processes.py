import os
import sys
import time
from pathlib import Path

import pytest

from simulator.demo.processes import Processes
from simulator.errors import ProcessError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_child_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("agent", python("print('no such chip'); raise SystemExit(3)"))
        with pytest.raises(ProcessError, match="no such chip") as died:
            processes.await_file(tmp_path / "ready", 10)
    assert died.value.reason == "CHILD_DIED"


def test_leaving_ends_every_child(tmp_path: Path) -> None:
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with Processes(tmp_path) as processes:
        processes.start("sleeper", python(code))
        deadline = time.monotonic() + 10
        pid = ""
        while not pid and time.monotonic() < deadline:
            if (tmp_path / "pid").exists():
                pid = (tmp_path / "pid").read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_stopped_child_drains_and_is_no_longer_missed(tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0));"
        f"open({str(tmp_path / 'ready')!r}, 'w').write('yes'); signal.pause()"
    )
    with Processes(tmp_path) as processes:
        processes.start("ledger", python(code))
        assert processes.await_file(tmp_path / "ready", 10) == "yes"
        processes.stop("ledger")
        processes.verify_alive()


def test_a_child_that_drains_badly_is_an_error(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("ledger", python("import time; time.sleep(60)"))
        with pytest.raises(ProcessError) as failed:
            processes.stop("ledger")  # it has no handler: the signal ends it
    assert failed.value.reason == "CHILD_FAILED"


def test_a_command_gives_its_answer_and_an_unexpected_status_raises(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        answer = processes.run(
            "audit", python("print('{}'); raise SystemExit(3)"), accept=(0, 1, 3)
        )
        assert (answer.status, answer.stdout) == (3, "{}\n")
        with pytest.raises(ProcessError, match="bad key") as failed:
            processes.run("audit", python("raise SystemExit('bad key')"))
    assert failed.value.reason == "COMMAND_FAILED"


def test_a_file_that_never_comes_is_an_error(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes, pytest.raises(ProcessError) as slow:
        processes.await_file(tmp_path / "never", 0.05)
    assert slow.value.reason == "CHILD_SLOW"
