"""A mirror that is kept on a disk that fails: whatever its checkpoint covers is whole, and the next run goes on."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ledger.fsck import examine
from ledger.objects.directory import DirectoryStore
from protos.stillwatch.statement.v1 import summary_pb2
from statements.log_trust import LogTrust
from tests.faults.disk import Disk, Fault, Platter
from tests.unit.verifier.logbook import MINUTE, Logbook
from verifier.mirror.prefix import fetch_prefix
from verifier.mirror.source import FolderSource

SIZES = (250, 700)
"""Records of the log when it is first mirrored, and then: parts become full ones."""


@dataclass(frozen=True)
class Template:
    """A log at two sizes, each as it is served, its agreement, and by what it is believed."""

    folder: Path
    trust: LogTrust

    @classmethod
    def make(cls, folder: Path) -> "Template":
        book = Logbook.begin()
        node = book.enrol("aurora", "aurora/0", chips=1)
        (folder / "agreement.toml").write_text(book.text)
        for size in SIZES:
            while len(book.records) < size:
                said = summary_pb2.WorkloadSummary()
                book.log(book.sign(node, said, book.now_ms, book.now_ms + MINUTE))
            book.serve(folder / str(size))
        return cls(folder, LogTrust.of(book.pins, book.pins.ledgers[0]))


@dataclass
class Play:
    """Two runs of a watch, each to the end of the log as it is then."""

    template: Template
    place: Path
    library: Path
    fault: Fault | None = None
    keep: bool = False
    status: int | None = None
    log: str = ""
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        (self.place / "disk").mkdir(parents=True)
        (self.place / "empty").mkdir()
        self.disk = Disk(self.library, self.place / "disk", self.place, self.fault, keep=self.keep)

    @property
    def mirror(self) -> Path:
        return self.place / "disk" / "mirror"

    def work(self) -> None:
        for size in SIZES:
            if self._watch(size, self.disk.environment) != 0:
                return
            self.disk.mark(f"mirrored {size}")

    @property
    def calls(self) -> int:
        """Calls to the disk that it made."""
        return self.disk.calls

    def told(self) -> tuple[str, int | None]:
        """Return what was written on stderr, and the exit status of the last run."""
        return self.log, self.status

    def go_on(self) -> None:
        """Run once more on a sane disk."""
        self.verify()
        assert self._watch(SIZES[-1], None) == 0, self.log
        assert self.verify() == SIZES[-1]
        self.verify_clean()

    def verify(self) -> int:
        """Refuse a mirror that does not hold all that its checkpoint covers; return how much that is."""
        if not (self.mirror / "checkpoint").exists():
            return 0
        prefix = fetch_prefix(FolderSource(self.mirror), self.template.trust)
        assert None not in prefix.bodies
        return prefix.size

    def verify_clean(self) -> None:
        """Refuse a mirror in which anything lies that is wrong."""
        found = examine(DirectoryStore(self.mirror), self.mirror, None)
        assert found.flaws == [], found.flaws

    def cuts(self, every: int) -> int:
        """Cut the power after every so many calls, on both kinds of file system; return how often."""
        platter = Platter(self.place / "disk", self.place / "empty")
        promised = cuts = 0
        for number, call in enumerate(self.disk.read()):
            platter.play([call])
            if call.name == "mark":
                promised = int(call.path.partition(" ")[2])
            if number % every == 0 or call.name == "mark":
                for strict in (True, False):
                    shutil.rmtree(self.place / "disk")
                    platter.cut(self.place / "disk", strict=strict)
                    assert self.verify() >= promised
                    if number % (3 * every) == 0:
                        self.go_on()
                    cuts += 1
        return cuts

    def again(self) -> None:
        """Run once more, on the disk as it was told to be."""
        self._watch(SIZES[-1], self.disk.environment)

    def cut_at_the_end(self) -> None:
        """Cut the power when all is done."""
        platter = Platter(self.place / "disk", self.place / "empty")
        platter.play(self.disk.read())
        for strict in (True, False):
            shutil.rmtree(self.place / "disk")
            platter.cut(self.place / "disk", strict=strict)
            assert self.verify() == SIZES[-1]

    def _watch(self, size: int, environment: Mapping[str, str] | None) -> int:
        folder = self.template.folder
        done = subprocess.run(
            [
                *(sys.executable, "-m", "stillwatch", "audit", "watch", "--once"),
                *("--agreement", str(folder / "agreement.toml")),
                *("--log", str(folder / str(size)), "--mirror", str(self.mirror)),
            ],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        self.status = done.returncode
        self.log += done.stderr
        return done.returncode
