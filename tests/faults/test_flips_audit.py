"""Of thousands of flipped bits in what an audit reads, none that matters goes unnoticed.

Each bit is of a class that says beforehand what must come of it. An *input* is every byte of the files that the
checkpoint's tree needs, of the agreement, and of a reader's key as far as another spelling is another key: its flip
makes the audit fail with a reason code, or changes what the verdict states. *No input* are partial forms that are
superseded, and bodies of windows that do not touch the audited period: their flips leave every byte of the verdict as
it was. `make test` flips some bits, `make faults` two thousand.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from statements.body_bundle import FOLDER
from statements.errors import KeyFileError
from statements.header import decode_header
from statements.kinds import Kind
from statements.reading_keys import read_reading_key, write_reading_key
from statements.record import decode_record
from tests.unit.ledger.test_fsck import files, flipped
from tests.unit.verifier.logbook import TRAINING, Logbook, play
from tests.unit.verifier.test_sealed import AISI, TERMS
from tlog.tile import aligned_path, bundle_path, bundles_of, tiles_of
from verifier import cli
from verifier.instants import rfc3339

_REASON: Final = re.compile(r"\[[A-Z][A-Z0-9_]+\]")
SUPERSEDED: Final = 9


@dataclass(frozen=True)
class Outcome:
    """An audit's exit status, what it printed as its verdict, and what it said beside it."""

    status: int
    verdict: str
    words: str


@dataclass(frozen=True)
class Case:
    """A log as it is served, and everything else that its audit reads."""

    place: Path
    book: Logbook
    period: tuple[int, int]
    honest: Outcome

    @property
    def log(self) -> Path:
        return self.place / "log"

    @property
    def arguments(self) -> list[str]:
        return arguments(self.place, self.period)

    def draw(self, count: int, seed: int) -> Iterator[tuple[Path, int]]:
        """Draw bits of the inputs: by turns any byte, and any file."""
        draw = random.Random(seed)
        paths = [self.log / name for name in files(self.log)]
        paths += [self.place / "agreement.toml", self.place / "reader.key"]
        sizes = [path.stat().st_size for path in paths]
        for number in range(count):
            path = draw.choices(paths, sizes)[0] if number % 2 else draw.choice(paths)
            yield path, draw.randrange(path.stat().st_size * 8)

    def is_input(self, path: Path, bit: int) -> bool:
        """Return whether a bit is of a class that the verdict depends on."""
        if path.name == "reader.key":
            try:
                return read_reading_key(path).public.key_id != AISI.public.key_id
            except KeyFileError:
                return True
        if path.name == "agreement.toml":
            return True
        name = path.relative_to(self.log).as_posix()
        if name not in needed(len(self.book.records)):
            return False
        return not name.startswith(f"{FOLDER}/") or not self._is_elsewhere(name, bit // 8)

    def _is_elsewhere(self, name: str, at: int) -> bool:
        """Return whether a byte of a bundle is of the body of a window that does not touch the period."""
        first = int(name.split("/")[1].removesuffix(".p")) * 256
        begin = 0
        for index, body in enumerate(self.book.bodies[first:], first):
            begin, end = begin + 4, begin + 4 + len(body or b"")
            if at < begin:
                return False  # a length
            if at < end:
                header = decode_header(decode_record(self.book.records[index]).header)
                touches = header.start_ms <= self.period[1] and header.end_ms >= self.period[0]
                return header.kind == Kind.SUMMARY and not touches
            begin = end
        raise AssertionError("beyond the end")


def needed(size: int) -> set[str]:
    """Return the files of a log of some size that whoever reads it reads."""
    bundles = bundles_of(size)
    found = {bundle_path(index, width) for index, width in bundles}
    found |= {aligned_path(FOLDER, index, width) for index, width in bundles_of(size)}
    return found | {tile.path for tile in tiles_of(size)} | {"checkpoint"}


def arguments(place: Path, period: tuple[int, int]) -> list[str]:
    return [
        *("run", "--agreement", str(place / "agreement.toml"), "--log", str(place / "log")),
        *("--period", f"{rfc3339(period[0])}/{rfc3339(period[1])}"),
        *("--open-with", str(place / "reader.key"), "-o", "json"),
    ]


def run(words: list[str]) -> Outcome:
    done = CliRunner().invoke(cli.audit, words)
    return Outcome(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A pause of three parties, their windows sealed; borealis trains on."""
    place = tmp_path_factory.mktemp("audited")
    pause = play({"borealis": TRAINING}, minutes=30, after=4, terms=TERMS)
    pause.book.serve(place / "log")
    size = len(pause.book.records)
    assert size > 256 + SUPERSEDED
    for folder in ("tile/entries", "tile/0", FOLDER):
        whole = place / "log" / aligned_path(folder, 1, size - 256)
        older = place / "log" / aligned_path(folder, 1, SUPERSEDED)
        older.write_bytes(whole.read_bytes()[: older_length(folder, pause.book)])
    (place / "agreement.toml").write_text(pause.book.text)
    write_reading_key(place / "reader.key", AISI)
    honest = run(arguments(place, pause.in_force))
    assert honest.status == 1, honest.words
    return Case(place, pause.book, pause.in_force, honest)


def older_length(folder: str, book: Logbook) -> int:
    """Return how many bytes the form of a second bundle had when it was of :data:`SUPERSEDED` records."""
    if folder == "tile/0":
        return 32 * SUPERSEDED
    rows = slice(256, 256 + SUPERSEDED)
    if folder == FOLDER:
        return sum(4 + len(body or b"") for body in book.bodies[rows])
    return sum(2 + len(record) for record in book.records[rows])


def judge(case: Case, path: Path, bit: int) -> str | None:
    """Return the class of a flipped bit when what became of it is right; ``None`` when it is not."""
    outcome, honest = run(case.arguments), case.honest
    if not case.is_input(path, bit):
        return "no input" if outcome == honest else None
    if outcome.status in {2, 4}:
        return "refused" if _REASON.search(outcome.words) and not outcome.verdict else None
    if outcome.verdict == honest.verdict or "Traceback" in outcome.words:
        return None
    return "other evidence" if compliant(outcome) <= compliant(honest) else None


def compliant(outcome: Outcome) -> set[str]:
    parties = json.loads(outcome.verdict)["parties"]
    return {party["party"] for party in parties if party["verdict"] == "compliant"}


def flip_all(case: Case, count: int, seed: int) -> dict[str, int]:
    """Flip bits one after another; return how many of each class there were, when none went unnoticed."""
    missed: list[str] = []
    tried: dict[str, int] = {}
    for path, bit in case.draw(count, seed):
        whole = path.read_bytes()
        path.write_bytes(flipped(whole, bit))
        became = judge(case, path, bit)
        path.write_bytes(whole)
        if became is None:
            missed.append(f"{path.relative_to(case.place)} bit {bit}")
        else:
            tried[became] = tried.get(became, 0) + 1
    assert missed == []
    return tried


def test_of_random_flips_none_that_matters_goes_unnoticed(case: Case) -> None:
    tried = flip_all(case, 50, seed=4)
    assert set(tried) == {"refused", "other evidence", "no input"}


@pytest.mark.slow
def test_of_two_thousand_random_flips_none_that_matters_goes_unnoticed(case: Case) -> None:
    tried = flip_all(case, 2_000, seed=5)
    print(f"2,000 flips: {tried}")  # noqa: T201
    assert min(tried.values()) > 100


@pytest.mark.parametrize(
    "count", [1, pytest.param(10, marks=pytest.mark.slow)], ids=["one", "some"]
)
def test_the_command_itself_notices(case: Case, count: int) -> None:
    for path, bit in case.draw(count, seed=6):
        whole = path.read_bytes()
        path.write_bytes(flipped(whole, bit))
        done = subprocess.run(
            [sys.executable, "-m", "stillwatch", "audit", *case.arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        in_process = run(case.arguments)
        path.write_bytes(whole)
        assert (done.returncode, done.stdout) == (in_process.status, in_process.verdict)


def test_with_the_agreements_digest_every_flip_of_it_is_a_usage_error(case: Case) -> None:
    path = case.place / "agreement.toml"
    whole = path.read_bytes()
    pinned = ["--agreement-digest", f"sha256:{case.book.pins.digest.hex()}"]
    draw = random.Random(7)
    for _ in range(20):
        path.write_bytes(flipped(whole, draw.randrange(len(whole) * 8)))
        outcome = run([*case.arguments, *pinned])
        assert (outcome.status, outcome.verdict) == (2, "")
    path.write_bytes(whole)
