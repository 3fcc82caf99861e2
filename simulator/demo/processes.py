"""Child processes of the demo: started, watched, ended. What they print goes to log files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from simulator.errors import ProcessError

_TAIL_LINES: Final = 12
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command gave back: its exit status, what it printed on stdout, and the log of the rest."""

    status: int
    stdout: str
    log: Path

    def field(self, name: str) -> object:
        """Return a field of the JSON object that was printed; raises ProcessError when none was."""
        try:
            tree = json.loads(self.stdout)
            return tree[name]
        except (ValueError, KeyError, TypeError):
            raise ProcessError(
                "COMMAND_FAILED",
                f"a command did not answer {name!r} as JSON ({_ended(self.status)}):\n{tail(self.log)}",
            ) from None


@dataclass(slots=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


def stillwatch(*arguments: str) -> list[str]:
    """Return the command line of ``stillwatch ARGUMENTS`` in this very installation."""
    return [sys.executable, "-m", "stillwatch", *arguments]


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"(no log: {error.strerror})"
    return "\n".join(text.splitlines()[-lines:]) or "(it printed nothing)"


class Processes:
    """The children of one demo, by name. A context manager: leaving it ends them all.

    ``logs`` is the folder of their logs, NAME.log each. Raises ProcessError with the last lines of
    its log when a child that should be running is not.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, _Child] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a child that runs until it is stopped."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=_environment()
            )
        self._children[name] = _Child(name, process, log)

    def log_text(self, name: str) -> str:
        """Return what a child or command has printed on stderr so far."""
        return (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def verify_alive(self) -> None:
        """Raise ProcessError when a child has ended that nobody stopped."""
        for child in self._children.values():
            status = child.process.poll()
            if status is not None:
                del self._children[child.name]
                raise ProcessError(
                    "CHILD_DIED",
                    f"the process {child.name!r} ended on its own ({_ended(status)}); its last "
                    f"lines, from {child.log}:\n{tail(child.log)}",
                )

    def await_file(self, path: Path, timeout_s: float) -> str:
        """Return the text of a file that a child writes once it is ready."""
        deadline = time.monotonic() + timeout_s
        while not path.exists():
            self.verify_alive()
            if time.monotonic() > deadline:
                raise ProcessError("CHILD_SLOW", f"{path} was not written within {timeout_s:g} s")
            time.sleep(_POLL_S)
        return path.read_text(encoding="utf-8")

    def await_end(self, name: str, timeout_s: float) -> None:
        """Wait until a child ends by itself; raises ProcessError when it does not in time, or ends in error."""
        child = self._children.pop(name)
        try:
            status = child.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
            raise ProcessError(
                "CHILD_SLOW", f"{name!r} did not end within {timeout_s:g} s"
            ) from None
        if status != 0:
            raise ProcessError(
                "CHILD_FAILED",
                f"the process {name!r} ended badly ({_ended(status)}):\n{tail(child.log)}",
            )

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        accept: Sequence[int] = (0,),
        timeout_s: float = 60.0,
    ) -> Answer:
        """Run a command to its end; its stderr goes to its log. Other statuses than ``accept`` raise."""
        log = self._logs / f"{name}.log"
        try:
            with log.open("ab") as sink:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=sink,
                    env=_environment(),
                    timeout=timeout_s,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise ProcessError(
                "COMMAND_SLOW",
                f"`{_readable(command)}` took longer than {timeout_s:g} s; see {log}",
            ) from None
        if done.returncode not in accept:
            raise ProcessError(
                "COMMAND_FAILED",
                f"`{_readable(command)}` failed ({_ended(done.returncode)}):\n{tail(log)}",
            )
        return Answer(done.returncode, done.stdout.decode(), log)

    def stop(self, *names: str, timeout_s: float = 20.0) -> None:
        """Ask children to end with SIGTERM, and wait until they have drained.

        Raises ProcessError when one does not, or ends in error; it is killed then.
        """
        children = [self._children.pop(name) for name in names]
        for child in children:
            child.process.send_signal(signal.SIGTERM)
        for child in children:
            try:
                status = child.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
                raise ProcessError(
                    "CHILD_STUCK",
                    f"the process {child.name!r} did not end within {timeout_s:g} s of SIGTERM; "
                    f"its last lines:\n{tail(child.log)}",
                ) from None
            if status != 0:
                raise ProcessError(
                    "CHILD_FAILED",
                    f"the process {child.name!r} ended badly ({_ended(status)}); its last lines, "
                    f"from {child.log}:\n{tail(child.log)}",
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children.values():
            child.process.terminate()
        deadline = time.monotonic() + 5.0
        for child in self._children.values():
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self._children.clear()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _readable(command: Sequence[str]) -> str:
    words = ["stillwatch", *command[3:]] if list(command[1:3]) == ["-m", "stillwatch"] else command
    return " ".join(words)


def _ended(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
