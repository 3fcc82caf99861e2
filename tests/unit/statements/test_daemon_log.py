"""The logs of long-running processes."""

import io
import json
import sys

import pytest
import structlog

from statements.daemon_log import log_as_json


class Terminal(io.StringIO):
    """Keeps what each single write wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


def test_a_line_and_its_end_are_one_write_so_that_threads_do_not_mix_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log_as_json()
    structlog.get_logger("test").error("cannot remember", reason="UNSYNCED")
    (line,) = terminal.writes
    assert line.endswith("}\n")
    assert json.loads(line)["reason"] == "UNSYNCED"
