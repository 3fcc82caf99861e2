"""Of thousands of flipped bits in a served log, ``ledger fsck`` finds each, and names the file.

The log has witnesses, sealed and public bodies, a bundle that is full, and partial forms of which some are superseded.
`make test` flips a few hundred bits, `make faults` two thousand.
"""

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ledger.address import Address
from ledger.cosigning import Cosigning
from ledger.folder import LedgerFolder
from ledger.founding import found
from ledger.fsck import examine
from ledger.journal.sqlite import SqliteJournal
from ledger.objects.directory import DirectoryStore
from ledger.publisher import CHECKPOINT, Publisher
from ledger.sequencer import Sequencer
from ledger.ticks import Ticker
from ledger.witness.folder import WitnessFolder
from ledger.witness.server import WitnessServer
from ledger.witness.witness import Witness
from statements.clock import SystemClock
from statements.disclosure import disclose
from statements.sealing import ContentKey, day_of
from tests.unit.ledger.cast import ORIGIN, T0, Cast, Hours, screened
from tests.unit.ledger.process import stillwatch
from tests.unit.ledger.test_fsck import files, flipped
from tests.unit.ledger.test_sealed import DISCLOSURE, summary

WITNESSES: Final = ("a", "b", "c")
STEPS: Final = (100, 130, 60, 15)
UNREADABLE: Final = frozenset({"BAD_NOTE", "BAD_NAME", "BAD_BASE64"})
"""Reasons of a checkpoint that is no signed note: what it says of witnesses cannot be read."""


@dataclass(frozen=True)
class Flip:
    """A bit of a file."""

    path: str
    bit: int


@dataclass(frozen=True)
class Kept:
    """A log as it is served."""

    folder: Path

    def draw(self, count: int, seed: int) -> Iterator[Flip]:
        """Draw bits: by turns any byte of the log, and any file of each kind, so that small ones are hit as well."""
        draw = random.Random(seed)
        sizes = {path: (self.folder / path).stat().st_size for path in files(self.folder)}
        kinds: dict[str, list[str]] = {}
        for path in sizes:
            kinds.setdefault("/".join(path.split("/")[:2]), []).append(path)
        for number in range(count):
            if number % 2:
                path = draw.choices(list(sizes), list(sizes.values()))[0]
            else:
                path = draw.choice(kinds[sorted(kinds)[number // 2 % len(kinds)]])
            yield Flip(path, draw.randrange(sizes[path] * 8))

    def flip(self, flip: Flip) -> None:
        """Flip a bit, or flip it back."""
        path = self.folder / flip.path
        path.write_bytes(flipped(path.read_bytes(), flip.bit))

    def cosigned_at(self, bit: int) -> bool:
        """Return whether a bit of the checkpoint is one of a witness's signature line, its line end left out."""
        note = (self.folder / CHECKPOINT).read_bytes()
        signatures = note.index(b"\n\n") + 2
        first = note.index(b"\n", signatures) + 1
        return bit // 8 >= first and note[bit // 8] != ord("\n")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    place = tmp_path_factory.mktemp("kept")
    folder = LedgerFolder.create(place / "log", ORIGIN)
    with ExitStack() as stack:
        lines = []
        for name in WITNESSES:
            made = WitnessFolder.create(place / name, f"witness.example/{name}")
            memory = made.memory()
            stack.callback(memory.close)
            memory.add_log(ORIGIN, folder.signer.vkey)
            server = WitnessServer(
                Address("127.0.0.1", 0), Witness(memory, made.keys, SystemClock())
            )
            stack.callback(server.close)
            lines.append(f"witness {name} {made.keys[0].vkey} http://127.0.0.1:{server.port}/")
        policy = "\n".join([*lines, f"group all 2 {' '.join(WITNESSES)}", "quorum all"])
        cast = Cast(
            policy=policy,
            disclosure=DISCLOSURE,
            signer=folder.signer,
            ledger_key=folder.key,
        )
        publish(folder, cast, stack)
    shutil.rmtree(folder.private)
    return Kept(folder.path)


def publish(folder: LedgerFolder, cast: Cast, stack: ExitStack) -> None:
    """Log and publish, step after step, what a party and its node say: public enrolments, and sealed windows."""
    hours = Hours()
    journal = SqliteJournal(folder.private)
    stack.callback(journal.close)
    found(folder, journal, cast.text, hours, cast.draw.randbytes)
    sequencer = Sequencer.open(journal, cast.keyring(), hours)
    cosigning = Cosigning(cast.pins.policy)
    stack.callback(cosigning.close)
    publisher = Publisher(journal, DirectoryStore(folder.path), folder.signer, cosigning)
    publisher.open()
    ticker = Ticker(
        sequencer, hours, key=folder.key, origin=ORIGIN, every_ms=60_000, draw=cast.draw.randbytes
    )
    enrolments, (node,) = cast.enrolled()
    key = ContentKey(node.key.key_id, day_of(T0), 2, cast.draw.randbytes(32))
    said = [*enrolments, node.open(), node.say(disclose(key, cast.pins.disclosures.classes[0]))]
    for step in STEPS:
        for at in range(step):
            if at % 10 == 9:
                said.append(cast.party.say(cast.enrolment(cast.person())))
            else:
                said.append(node.say(summary(), T0, T0 + 60_000, key))
        sequencer.log([[screened(one) for one in said]])
        said = []
        ticker.tick(publisher.publish())
        hours.ms += 60_000
    publisher.publish()


def test_the_kept_log_is_clean_and_has_a_file_of_every_kind(kept: Kept) -> None:
    found = examine(DirectoryStore(kept.folder), kept.folder, None)
    assert found.flaws == []
    assert found.size > 256
    assert (kept.folder / CHECKPOINT).read_text().count("\u2014") == 1 + len(WITNESSES)
    names = files(kept.folder)
    assert {"tile/0/000", "tile/1/000.p/1", "tile/entries/000", "bodies/000"} <= set(names)
    assert len([name for name in names if name.startswith("tile/entries/001.p/")]) > 1, "superseded"


def play(kept: Kept, count: int, seed: int) -> dict[str, int]:
    """Flip bits one after another; return how many were flipped in each kind of file, when each was found."""
    missed: list[Flip] = []
    tried: dict[str, int] = {}
    for flip in kept.draw(count, seed):
        kept.flip(flip)
        flaws = examine(DirectoryStore(kept.folder), kept.folder, None).flaws
        kept.flip(flip)
        at_cosignature = flip.path == CHECKPOINT and kept.cosigned_at(flip.bit)
        kind = "cosignatures" if at_cosignature else "/".join(flip.path.split("/")[:2])
        tried[kind] = tried.get(kind, 0) + 1
        reasons = {flaw.reason for flaw in flaws if flaw.place == flip.path}
        if not reasons or (at_cosignature and not reasons & {"MISSING_WITNESS", *UNREADABLE}):
            missed.append(flip)
    assert missed == []
    return tried


def test_of_random_flips_each_is_found_and_its_file_named(kept: Kept) -> None:
    assert sum(play(kept, 50, seed=1).values()) == 50


@pytest.mark.slow
def test_of_two_thousand_random_flips_each_is_found_and_its_file_named(kept: Kept) -> None:
    tried = play(kept, 2_000, seed=2)
    print(f"2,000 flips found: {tried}")  # noqa: T201
    assert min(tried.values()) > 20


def test_of_the_agreement_in_leaf_0_no_bit_is_blamed_on_the_checkpoint(kept: Kept) -> None:
    """The key that signs the log is read in there: a flip of its name is a flip of the body all the same."""
    path = kept.folder / "bodies/000"
    origin = path.read_bytes().index(ORIGIN.encode())
    for byte in range(origin - 20, origin + len(ORIGIN) + 20):
        flip = Flip("bodies/000", byte * 8)
        kept.flip(flip)
        flaws = examine(DirectoryStore(kept.folder), kept.folder, None).flaws
        kept.flip(flip)
        assert next((flaw.place, flaw.reason) for flaw in flaws) == ("bodies/000", "BODY_MISMATCH")


@pytest.mark.parametrize(
    "count", [2, pytest.param(40, marks=pytest.mark.slow)], ids=["a few", "many"]
)
def test_the_command_exits_with_1_and_names_the_file(kept: Kept, count: int) -> None:
    for flip in kept.draw(count, seed=3):
        kept.flip(flip)
        done = stillwatch("ledger", "fsck", str(kept.folder), "-o", "json")
        kept.flip(flip)
        assert done.returncode == 1, (flip, done.stderr)
        told = json.loads(done.stdout)
        assert not told["clean"]
        assert flip.path in {flaw["place"] for flaw in told["flaws"]}


def test_each_bit_that_base64_does_not_use_counts(kept: Kept) -> None:
    """Of the last character before the padding some bits mean nothing: a second spelling is refused all the same."""
    note = (kept.folder / CHECKPOINT).read_bytes()
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    respelled = 0
    for at in range(note.index(b"\n\n"), len(note)):
        if note[at : at + 1] != b"=" and note[at + 1 : at + 2] == b"=":
            other = alphabet[alphabet.index(note[at]) ^ 1]
            (kept.folder / CHECKPOINT).write_bytes(note[:at] + bytes([other]) + note[at + 1 :])
            flaws = examine(DirectoryStore(kept.folder), kept.folder, None).flaws
            assert CHECKPOINT in {flaw.place for flaw in flaws}
            respelled += 1
    (kept.folder / CHECKPOINT).write_bytes(note)
    assert respelled, "some signature has padding"
