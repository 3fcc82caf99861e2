"""Every call to the file system fails once, in turn, and again with all that follow it: nothing acknowledged is lost.

A real ledger, witness and agent, and ``ledger init``, each on a disk that fails as it is told to (disk.c). `make test`
plays a few calls spread over each workload, `make faults` every one.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pytest

from tests.faults import agent_scene, init_scene, ledger_scene, mirror_scene, witness_scene
from tests.faults.disk import Call, Disk, Fault, How, Then, build
from tests.faults.ledger_scene import verify_told

KINDS: Final = (
    (How.IO_ERROR, Then.GO_ON),
    (How.IO_ERROR, Then.FAIL),
    (How.NO_SPACE, Then.GO_ON),
    (How.NO_SPACE, Then.FAIL),
    (How.SHORT, Then.FAIL),
)


ENOUGH: Final = 0.9
"""The share of a workload's calls that fail in one sweep, at least: how many a run makes depends on its speed."""

ATTEMPTS: Final = 2
"""Runs for one call, at most: on busy cores a run does more at once, and makes fewer calls."""


class Play(Protocol):
    """One run of a workload, of which one call fails."""

    @property
    def disk(self) -> Disk: ...

    @property
    def calls(self) -> int:
        """How many there are to fail, once it has worked."""
        ...

    def work(self) -> None: ...

    def told(self) -> tuple[str, int | None]:
        """Return what was written on stderr, and the exit status."""
        ...

    def go_on(self) -> None: ...


Start = Callable[[Fault | None], Play]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> ledger_scene.Template:
    return ledger_scene.Template.make(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return witness_scene.template(tmp_path_factory.mktemp("template") / "witness")


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[agent_scene.Stage]:
    """A ledger that has a node for every run of one sweep."""
    made = agent_scene.Stage.make(tmp_path_factory.mktemp("stage"), nodes=400)
    yield made
    made.ledger.end()


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> mirror_scene.Template:
    return mirror_scene.Template.make(tmp_path_factory.mktemp("template"))


SCENES: Final = ("ledger", "witness", "agent", "init", "mirror")


@pytest.fixture(params=SCENES)
def start(request: pytest.FixtureRequest, library: Path, tmp_path: Path) -> Start:
    """What begins a run of one workload."""
    numbers = iter(range(100_000))

    def begin(fault: Fault | None) -> Play:
        place = tmp_path / str(next(numbers))
        if request.param == "ledger":
            return ledger_scene.Play(request.getfixturevalue("log"), place, library, fault)
        if request.param == "witness":
            return witness_scene.Play(request.getfixturevalue("witness"), place, library, fault)
        if request.param == "agent":
            stage: agent_scene.Stage = request.getfixturevalue("stage")
            return agent_scene.Play(stage, stage.nodes.pop(), place, library, fault)
        if request.param == "mirror":
            return mirror_scene.Play(request.getfixturevalue("mirrored"), place, library, fault)
        return init_scene.Play(place, library, fault)

    return begin


def overlooked(call: Call) -> bool:
    """Return whether a call may fail and nobody be told: it is tried again, or nothing depends on it.

    SQLite's own files: what it cannot do when it closes is left to the next opening; what it cannot do for a commit is
    its commit's failure, which is told; the folder of its files was synced when they were opened. Folders that are
    there, and files that were to go.
    """
    of_sqlite = ".sqlite" in call.path or any(Path(call.path).glob("*.sqlite"))
    return call.name in {"mkdir", "unlink"} or of_sqlite


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run: whether its fault came to pass, and what was wrong, if anything."""

    struck: bool
    wrong: str | None


def play(start: Start, fault: Fault) -> Outcome:
    """Play a run."""
    run = start(fault)
    try:
        run.work()
        told = verify_told(*run.told())
        struck = bool(run.disk.failed)
        if struck and not told:
            call = run.disk.numbered(fault.at)
            assert overlooked(call), f"nobody was told: {call}"
        run.disk.heal()
        run.go_on()
    except Exception as error:  # noqa: BLE001 - every run is played, whatever became of another
        return Outcome(bool(run.disk.failed), f"{fault}: {type(error).__name__}: {error}")
    shutil.rmtree(run.disk.place)
    return Outcome(struck, None)


def play_until_struck(start: Start, fault: Fault) -> Outcome:
    """Play a run, and again where it came to its end before the call that was to fail; the last time counts."""
    for _ in range(ATTEMPTS):
        outcome = play(start, fault)
        if outcome.struck or outcome.wrong is not None:
            break
    return outcome


def calls_of(start: Start) -> int:
    """Return how many calls a run makes of which none fails."""
    run = start(None)
    run.work()
    assert run.told()[1] == 0, run.told()
    return run.calls


def test_whatever_call_fails_nothing_acknowledged_is_lost(
    start: Start, request: pytest.FixtureRequest
) -> None:
    calls = calls_of(start)
    first = SCENES.index(request.node.callspec.params["start"])
    for place, kind in ((0.3, first), (0.7, first + 2)):
        how, then = KINDS[kind % len(KINDS)]
        assert play(start, Fault(how, round(calls * place), then)).wrong is None


@pytest.mark.slow
@pytest.mark.parametrize(("how", "then"), KINDS, ids=lambda value: value.name)
def test_every_call_fails_in_turn(start: Start, how: How, then: Then) -> None:
    calls = calls_of(start)
    played = [play_until_struck(start, Fault(how, at, then)) for at in range(1, calls + 1)]
    struck = sum(one.struck for one in played)
    print(f"{how.name}, then {then.name}: {struck} of {calls} calls failed")  # noqa: T201
    assert [one.wrong for one in played if one.wrong is not None] == []
    assert struck >= ENOUGH * calls, "runs were shorter than the one that was counted: try again"


def syncs_of(calls: list[Call], before: str = "") -> list[int]:
    """Return the numbers of the syncs of a write-ahead log; those alone that came before a mark, where it is given."""
    found: list[int] = []
    number = 0
    for call in calls:
        if call.name != "mark":
            number += 1
            if call.name == "fsync" and call.path.endswith("-wal"):
                found.append(number)
        elif call.path == before:
            break
    return found


def play_lost_pages(run: ledger_scene.Play | witness_scene.Play) -> None:
    """Let a sync fail and the process die of it; start anew, have everything said again, and cut the power.

    The process that starts finds in the page cache what the disk never took.
    """
    run.work(kill=True)
    run.disk.heal()
    run.work(kill=True)
    run.cut_at_the_end()


@pytest.fixture(scope="module")
def honest(
    log: ledger_scene.Template, library: Path, tmp_path_factory: pytest.TempPathFactory
) -> ledger_scene.Play:
    """A ledger's workload on a disk of which nothing failed, written down whole."""
    run = ledger_scene.Play(log, tmp_path_factory.mktemp("honest") / "run", library, keep=True)
    run.work()
    return run


def test_what_a_ledger_acknowledges_after_a_failed_sync_outlives_a_power_cut(
    log: ledger_scene.Template, honest: ledger_scene.Play, library: Path, tmp_path: Path
) -> None:
    number = syncs_of(honest.disk.read(), f"acknowledged {1 + ledger_scene.BATCH}")[-1]
    fault = Fault(How.IO_ERROR, number, Then.DIE)
    run = ledger_scene.Play(log, tmp_path / "run", library, fault, keep=True)
    play_lost_pages(run)
    assert len(run.client.acknowledged) == 1 + ledger_scene.BATCH * ledger_scene.BATCHES


def test_what_a_witness_cosigns_after_a_failed_sync_outlives_a_power_cut(
    witness: Path, library: Path, tmp_path: Path
) -> None:
    counted = witness_scene.Play(witness, tmp_path / "counted", library)
    counted.work()
    number = syncs_of(counted.disk.read(), f"cosigned {witness_scene.SIZES[-1]}")[-1]
    fault = Fault(How.IO_ERROR, number, Then.DIE)
    run = witness_scene.Play(witness, tmp_path / "run", library, fault, keep=True)
    play_lost_pages(run)
    assert run.cosigned == witness_scene.SIZES[-1]


@pytest.mark.slow
def test_after_every_failed_sync_what_is_acknowledged_outlives_a_power_cut(
    log: ledger_scene.Template, honest: ledger_scene.Play, library: Path, tmp_path: Path
) -> None:
    for number in syncs_of(honest.disk.read()):
        fault = Fault(How.IO_ERROR, number, Then.DIE)
        play_lost_pages(ledger_scene.Play(log, tmp_path / str(number), library, fault, keep=True))


def test_a_power_cut_in_the_middle_loses_nothing_acknowledged(honest: ledger_scene.Play) -> None:
    middle = honest.disk.calls // 2
    assert len(list(honest.cuts(every=10_000, first=middle))) == 2


@pytest.mark.slow
def test_a_power_cut_at_every_call_loses_nothing_acknowledged(honest: ledger_scene.Play) -> None:
    cuts = list(honest.cuts(every=1))
    print(f"{len(cuts)} power cuts")  # noqa: T201
    assert len(cuts) > 200


@pytest.mark.slow
def test_a_power_cut_at_every_call_of_init_loses_no_key_that_was_printed(
    library: Path, tmp_path: Path
) -> None:
    run = init_scene.Play(tmp_path / "run", library, keep=True)
    run.work()
    run.cuts(every=1)


def test_a_power_cut_at_a_few_calls_leaves_a_mirror_whole(
    mirrored: mirror_scene.Template, library: Path, tmp_path: Path
) -> None:
    run = mirror_scene.Play(mirrored, tmp_path / "run", library, keep=True)
    run.work()
    assert run.cuts(every=15) > 10


@pytest.mark.slow
def test_a_power_cut_at_every_call_leaves_a_mirror_whole(
    mirrored: mirror_scene.Template, library: Path, tmp_path: Path
) -> None:
    run = mirror_scene.Play(mirrored, tmp_path / "run", library, keep=True)
    run.work()
    print(f"{run.cuts(every=1)} power cuts")  # noqa: T201


def lost_pages_of_a_mirror(
    mirrored: mirror_scene.Template, library: Path, place: Path, number: int
) -> None:
    """Let a sync fail and the process die of it; run again, which finds in memory what the disk never took; and cut."""
    fault = Fault(How.IO_ERROR, number, Then.DIE)
    run = mirror_scene.Play(mirrored, place, library, fault, keep=True)
    run.work()
    assert run.status in {4, -9}
    run.disk.heal()
    run.again()
    assert run.status == 0
    run.cut_at_the_end()


def syncs_of_a_mirror(mirrored: mirror_scene.Template, library: Path, place: Path) -> list[int]:
    counted = mirror_scene.Play(mirrored, place, library)
    counted.work()
    calls = [call for call in counted.disk.read() if call.name != "mark"]
    return [number for number, call in enumerate(calls, 1) if call.name == "fsync"]


def test_what_a_mirror_holds_after_a_failed_sync_outlives_a_power_cut(
    mirrored: mirror_scene.Template, library: Path, tmp_path: Path
) -> None:
    syncs = syncs_of_a_mirror(mirrored, library, tmp_path / "counted")
    for number in (syncs[len(syncs) // 4], syncs[-3]):
        lost_pages_of_a_mirror(mirrored, library, tmp_path / str(number), number)


@pytest.mark.slow
def test_what_a_mirror_holds_after_any_failed_sync_outlives_a_power_cut(
    mirrored: mirror_scene.Template, library: Path, tmp_path: Path
) -> None:
    for number in syncs_of_a_mirror(mirrored, library, tmp_path / "counted"):
        lost_pages_of_a_mirror(mirrored, library, tmp_path / str(number), number)
