"""The command that a recording is of: it ends the recording, and the recording never ends it before its time."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from attestor.bell import Bell
from attestor.errors import RecordingError

_SIGNALLED: Final = 128
_STDERR: Final = 2
_LOOK_S: Final = 1.0


class RecordedCommand:
    """A command that runs beside a recording, and rings ``bell`` when it ends. Its output goes to stderr."""

    def __init__(self, words: Sequence[str], more: Mapping[str, str], bell: Bell) -> None:
        """Start it with ``more`` in its environment; raises RecordingError."""
        self._bell = bell
        self._status: int | None = None
        try:
            self._process = subprocess.Popen(words, env={**os.environ, **more}, stdout=_STDERR)
        except (OSError, ValueError) as error:
            raise RecordingError(
                "COMMAND_NOT_STARTED", f"cannot start {words[0]!r}: {error}"
            ) from error
        self._waiter = threading.Thread(target=self._wait, name="command", daemon=True)
        self._waiter.start()

    def _wait(self) -> None:
        self._status = self._process.wait()
        self._bell.ring()

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self._status is not None

    def signal(self, number: int) -> None:
        """Pass a signal on, unless the terminal has sent it to the command as well."""
        if number != signal.SIGINT or not _is_in_foreground():
            self._process.send_signal(number)

    def end(self) -> int:
        """Kill it if it still runs; return its exit status, as shells count it."""
        if not self.has_ended:
            self._process.kill()
        self._waiter.join()
        status = self._process.returncode
        return status if status >= 0 else _SIGNALLED - status


def _is_in_foreground() -> bool:
    """Return whether a terminal sends its interrupts to this process, and so to the command, too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False  # there is none
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class Ending:
    """When a recording ends: once its time is up, its command has ended, or somebody says so.

    ``seconds`` is how long it takes at most, ``None`` without an end. A command is told what somebody says, and takes
    the time that it takes to end; told twice, it is not waited for.
    """

    def __init__(self, bell: Bell, seconds: float | None) -> None:
        self._bell = bell
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._signals: list[int] = []
        self._passed = False
        self.command: RecordedCommand | None = None

    def stop(self, number: int) -> None:
        """Take a signal. Safe in a signal handler."""
        self._signals.append(number)
        self._bell.ring()

    def left(self) -> float:
        """Return the seconds after which to look again, 0 when it is over."""
        if self.command is None:
            if self._signals:
                return 0.0
            return (
                _LOOK_S if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            )
        if self.command.has_ended or len(self._signals) > 1:
            return 0.0
        if self._signals and not self._passed:
            self._passed = True
            self.command.signal(self._signals[0])
        return _LOOK_S

    def wait_for_command(self) -> int:
        """Wait until it is over; return the command's exit status, 0 without one."""
        if self.command is None:
            return 0
        while (wait := self.left()) > 0:
            self._bell.wait(wait)
        return self.command.end()
