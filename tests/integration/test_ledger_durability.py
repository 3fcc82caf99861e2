"""No acknowledgement leaves before its record was written and synced: seen in a ledger's system calls."""

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from statements.header import decode_header
from statements.ledger_client import LedgerClient, Receipt
from tests.unit.ledger.process import LedgerProcess, found_log

_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")


@dataclass
class Traced(LedgerProcess):
    """A ledger whose system calls are written down."""

    trace: Path = Path()

    def command(self, grpc: str = "127.0.0.1:0") -> list[str]:
        """Trace it from beside it, so that it stays our child."""
        strace = ["strace", "-D", "-f", "-y", "-xx", "-s", "65536", "-o", str(self.trace)]
        return [
            *strace,
            *("-e", "trace=pwrite64,fdatasync,fsync,sendmsg"),
            *super().command(grpc),
        ]

    def traced(self) -> str:
        """Return what was written down, once that is all."""
        deadline = time.monotonic() + 10
        while "+++ exited with 0 +++" not in (text := self.trace.read_text())[-200:]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return text


def finished(trace: str) -> list[tuple[str, str]]:
    """Return name and arguments of each call that succeeded, in the order in which they ended."""
    begun: dict[tuple[str, str], str] = {}
    ended: list[tuple[str, str]] = []
    for line in trace.splitlines():
        if call := _CALL.match(line):
            pid, name, rest = call.groups()
            if rest.endswith("<unfinished ...>"):
                begun[pid, name] = rest
            elif " = -1 " not in rest[-80:]:
                ended.append((name, rest))
        elif call := _RESUMED.match(line):
            pid, name, rest = call.groups()
            if " = -1 " not in rest[-80:]:
                ended.append((name, begun.pop((pid, name), "") + rest))
    return ended


def test_a_record_is_synced_before_its_receipt_is_sent(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    cast = found_log(tmp_path / "log")
    ledger = Traced(tmp_path / "log", options=("--beat", "3600"), trace=tmp_path / "trace")
    try:
        try:
            ledger.start()
        except AssertionError:
            if "ptrace" in ledger.log.read_text():
                pytest.skip("tracing is not permitted here")
            raise
        epochs = []
        with LedgerClient(ledger.grpc) as client:
            for person in (cast.party, cast.evaluator):
                opening = person.open()
                epochs.append(decode_header(opening.header).epoch)
                assert isinstance(client.append([opening])[0], Receipt)
        assert ledger.stop() == 0
    finally:
        ledger.end()
    calls = finished(ledger.traced())
    wal = hexed(b"journal.sqlite-wal")
    for epoch in epochs:
        written = first(calls, "pwrite64", wal, hexed(epoch))
        sent = first(calls, "sendmsg", hexed(epoch))
        between = calls[written:sent]
        assert any(name in {"fdatasync", "fsync"} and wal in rest for name, rest in between)


def hexed(data: bytes) -> str:
    """Return bytes as strace shows them."""
    return "".join(f"\\x{byte:02x}" for byte in data)


def first(calls: list[tuple[str, str]], name: str, *words: str) -> int:
    """Return where the first such call is."""
    return next(
        at
        for at, (called, rest) in enumerate(calls)
        if called == name and all(word in rest for word in words)
    )
