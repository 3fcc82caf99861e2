"""Commands that are recorded: who tells them to end, and how often."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from attestor import recorded_command
from attestor.bell import Bell
from attestor.errors import RecordingError
from attestor.recorded_command import Ending, RecordedCommand

TELLS = """
import fcntl, os, sys, termios
if len(sys.argv) > 1:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from attestor.recorded_command import _is_in_foreground
print(_is_in_foreground())
"""


@pytest.mark.parametrize("has_terminal", [True, False])
def test_whether_a_terminal_interrupts_the_command_as_well_is_known(
    root: Path, *, has_terminal: bool
) -> None:
    terminal, inside = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", TELLS, *["terminal"] * has_terminal],
        cwd=root,
        stdin=inside,
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    os.close(inside)
    os.close(terminal)
    assert done.stdout.strip() == str(has_terminal)


@pytest.mark.parametrize(
    ("number", "in_foreground", "ended_by"),
    [
        (signal.SIGINT, False, signal.SIGINT),
        (signal.SIGINT, True, signal.SIGKILL),
        (signal.SIGTERM, False, signal.SIGTERM),
        (signal.SIGTERM, True, signal.SIGTERM),
    ],
)
def test_a_command_is_passed_a_signal_unless_the_terminal_has_sent_it(
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    in_foreground: bool,
    ended_by: signal.Signals,
) -> None:
    monkeypatch.setattr(recorded_command, "_is_in_foreground", lambda: in_foreground)
    bell = Bell()
    ending = Ending(bell, None)
    command = ending.command = RecordedCommand(["sleep", "60"], {}, bell)
    assert ending.left() > 0
    ending.stop(number)
    assert ending.left() > 0
    bell.wait(0.5)
    while ended_by != signal.SIGKILL and not command.has_ended:
        bell.wait(5.0)
    assert command.has_ended == (ended_by != signal.SIGKILL)
    assert command.end() == 128 + ended_by
    assert ending.left() == 0


def test_a_recording_without_a_command_ends_when_told_or_when_its_time_is_up() -> None:
    assert Ending(Bell(), 0.0).left() == 0
    assert 50 < Ending(Bell(), 60.0).left() <= 60
    forever = Ending(Bell(), None)
    assert forever.left() > 0
    forever.stop(signal.SIGTERM)
    assert forever.left() == 0
    assert forever.wait_for_command() == 0


@pytest.mark.parametrize("words", [["/absent"], ["/"], ["a\0b"]])
def test_what_is_no_command_is_told(words: list[str]) -> None:
    with pytest.raises(RecordingError) as caught:
        RecordedCommand(words, {}, Bell())
    assert caught.value.reason == "COMMAND_NOT_STARTED"
