"""``ledger init``, both of its steps, on a disk that fails: run again, it goes on; no key that was printed is lost."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ledger.folder import LedgerFolder
from ledger.fsck import examine
from ledger.objects.directory import DirectoryStore
from tests.faults.disk import Disk, Fault, Platter
from tests.unit.ledger.cast import ORIGIN, Cast


@dataclass
class Play:
    """One run of both steps."""

    place: Path
    library: Path
    fault: Fault | None = None
    keep: bool = False
    statuses: list[int] = field(default_factory=list)
    printed: str | None = None
    log: str = ""
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        (self.place / "disk").mkdir(parents=True)
        (self.place / "empty").mkdir()
        self.disk = Disk(self.library, self.place / "disk", self.place, self.fault, keep=self.keep)

    @property
    def folder(self) -> Path:
        return self.place / "disk" / "log"

    def work(self) -> None:
        """Take both steps, the second when the first was."""
        first = self._init(("--origin", ORIGIN, "-o", "json"), self.disk.environment)
        if first.returncode == 0:
            self.printed = str(json.loads(first.stdout)["vkey"])
            self.disk.mark("printed")
            self._init(("--agreement", str(self._agreement())), self.disk.environment)
            self.disk.mark("done")

    @property
    def calls(self) -> int:
        """Calls to the disk that it made."""
        return self.disk.calls

    def told(self) -> tuple[str, int | None]:
        """Return what was written on stderr, and the exit status of the last step."""
        return self.log, self.statuses[-1]

    def go_on(self) -> None:
        """Take the steps again on a sane disk, as far as they were not taken."""
        if not (self.folder / "private").exists():
            assert self.printed is None, "the keys are gone that were printed"
            assert self._init(("--origin", ORIGIN), None).returncode == 0, self.log
        made = LedgerFolder.open(self.folder)
        assert self.printed in {None, made.signer.vkey}
        begun = self._init(("--agreement", str(self._agreement())), None)
        assert begun.returncode == 0 or "[LOG_BEGUN]" in begun.stderr, begun.stderr
        found = examine(DirectoryStore(self.folder), self.folder, None)
        if found.size == 0:  # what is published last follows when it is served
            assert "[LOG_BEGUN]" in begun.stderr
            return
        assert (found.flaws, found.size) == ([], 2)

    def cuts(self, every: int) -> None:
        """Cut the power after every so many calls, on both kinds of file system, and go on each time."""
        platter = Platter(self.place / "disk", self.place / "empty")
        printed, self.printed = self.printed, None
        for number, call in enumerate(self.disk.read()):
            platter.play([call])
            if call.name == "mark":
                self.printed = printed
            if number % every == 0:
                for strict in (True, False):
                    shutil.rmtree(self.place / "disk")
                    platter.cut(self.place / "disk", strict=strict)
                    self.go_on()

    def _agreement(self) -> Path:
        made = LedgerFolder.open(self.folder)
        path = self.place / "agreement.toml"
        if not path.exists() or made.signer.vkey not in path.read_text():
            path.write_bytes(Cast(signer=made.signer, ledger_key=made.key).text)
        return path

    def _init(
        self, words: tuple[str, ...], environment: Mapping[str, str] | None
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "stillwatch", "ledger", "init", str(self.folder), *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        self.statuses.append(done.returncode)
        self.log += done.stderr
        return done
