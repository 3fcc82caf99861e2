"""How long ``ledger serve`` takes from its start to serving: ``python -m tests.faults.restart [RECORDS [AUTHORS]]``.

Beside it an empty log, and a Python that does nothing: the machine's share. The log is built in bulk: enrolments, an
opening an author, then windows without bodies, in turns.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ledger.folder import LedgerFolder
from ledger.journal.registry import open_journal
from statements.author import Statement
from statements.record import Record, encode_record
from tests.unit.ledger.cast import T0, Cast
from tests.unit.ledger.process import LedgerProcess, found_log

RECORDS: Final = 100_000
AUTHORS: Final = 1_000
GROUP: Final = 500
ROUNDS: Final = 7


def bulk_build(folder: Path, cast: Cast, records: int, authors: int) -> None:
    """Fill a log that was founded."""
    journal = open_journal("sqlite", LedgerFolder.open(folder).private)
    entries: list[tuple[bytes, bytes | None]] = []

    def log(said: Statement, *, held: bool) -> None:
        record = encode_record(Record(said.header, said.signature, T0))
        entries.append((record, said.stored if held else None))
        if len(entries) == GROUP:
            journal.append(journal.size(), entries)
            entries.clear()

    said, people = cast.enrolled(authors)
    for one in [*said, *(person.open() for person in people)]:
        log(one, held=True)
    for number in range(records - journal.size() - len(entries)):
        log(people[number % authors].summary(0), held=False)
    if entries:
        journal.append(journal.size(), entries)
    journal.close()


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def median_start(folder: Path) -> float:
    """Return the median time of a start."""
    took = []
    for _ in range(ROUNDS):
        ledger = LedgerProcess(folder)
        took.append(seconds(ledger.start))
        assert ledger.stop(30) == 0
    return statistics.median(took)


def main(records: int = RECORDS, authors: int = AUTHORS) -> None:
    """Build, measure, and print."""
    place = Path(tempfile.mkdtemp())
    nothing = [sys.executable, "-c", "pass"]
    found_log(place / "empty")
    cast = found_log(place / "full")
    bulk_build(place / "full", cast, records, authors)
    ledger = LedgerProcess(place / "full").start()
    ledger.stop(60)  # what is published once is only checked again
    python = statistics.median(
        seconds(lambda: subprocess.run(nothing, check=True)) for _ in range(ROUNDS)
    )
    empty, full = median_start(place / "empty"), median_start(place / "full")
    print(f"python -c pass   {python:.3f} s")  # noqa: T201
    print(f"an empty log     {empty:.3f} s   {empty / python:.0f}x")  # noqa: T201
    print(f"{records:,} records, {authors:,} authors  {full:.3f} s   {full / python:.0f}x")  # noqa: T201
    shutil.rmtree(place)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
