"""Group commit, on a real journal."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from ledger import writer as module
from ledger.errors import ForkError, JournalError
from ledger.journal.interface import Entry
from ledger.journal.sqlite import SqliteJournal
from ledger.sequencer import Logged, Sequencer
from ledger.writer import Writer
from tests.unit.ledger.cast import Cast, FailingJournal, Hours, screened

SIZE = 1_000
"""Bytes that each batch came in, as far as the writer was told."""


class Desk:
    """A writer at work, and how large its groups were."""

    def __init__(self, cast: Cast, journal: FailingJournal) -> None:
        self.groups: list[int] = []
        real = journal.append

        def append(first: int, some: list[Entry]) -> None:
            real(first, some)
            self.groups.append(len(some))

        journal.append = append  # type: ignore[method-assign, assignment]
        self.journal = journal
        self.cast = cast

    def play(self, scene: Callable[[Writer], Awaitable[None]]) -> None:
        async def run() -> None:
            writer = Writer(Sequencer.open(self.journal, self.cast.keyring(), Hours()))
            working = asyncio.create_task(writer.run())
            try:
                await scene(writer)
            finally:
                working.cancel()
                writer.close()

        asyncio.run(asyncio.wait_for(run(), 10))


@pytest.fixture
def desk(cast: Cast, journal: FailingJournal) -> Desk:
    return Desk(cast, journal)


def test_batches_that_arrive_together_become_durable_together(cast: Cast, desk: Desk) -> None:
    async def scene(writer: Writer) -> None:
        said = [cast.party.open(), *cast.party.summaries(9)]
        futures = [writer.submit([screened(one)], SIZE) for one in said]
        outcomes = [await future for future in futures]
        indices = [one.index for (one,) in outcomes if isinstance(one, Logged)]
        assert indices == list(range(10))
        assert desk.groups == [10]

    desk.play(scene)


def test_a_group_takes_no_more_batches_once_it_is_large(
    cast: Cast, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(writer: Writer) -> None:
        said = [cast.party.open(), *cast.party.summaries(9, size=1000)]
        futures = [writer.submit([screened(one)], SIZE) for one in said]
        for future in futures:
            await future

    with monkeypatch.context() as patch:
        patch.setattr(module, "MOST_STATEMENTS", 3)
        desk.play(scene)
    assert desk.groups == [3, 3, 3, 1]
    desk.groups.clear()
    monkeypatch.setattr(module, "MOST_BYTES", 4_000)
    cast.party.open()
    desk.play(scene)
    assert max(desk.groups) <= 5


def test_a_group_that_failed_answers_nobody_and_the_next_goes_on(cast: Cast, desk: Desk) -> None:
    async def scene(writer: Writer) -> None:
        opening = screened(cast.party.open())
        desk.journal.failures = ["before", "before"]
        for _ in range(2):
            with pytest.raises(JournalError):
                await writer.submit([opening], SIZE)
        (outcome,) = await writer.submit([opening], SIZE)
        assert isinstance(outcome, Logged)

    with capture_logs() as logs:
        desk.play(scene)
    assert [line["event"] for line in logs] == ["cannot log", "logging again"]
    assert logs[0]["reason"] == "STORAGE"


def test_whoever_hung_up_does_not_keep_others_from_their_answers(cast: Cast, desk: Desk) -> None:
    async def scene(writer: Writer) -> None:
        gone = writer.submit([screened(cast.party.open())], SIZE)
        gone.cancel()
        (outcome,) = await writer.submit([screened(cast.party.summary())], SIZE)
        assert isinstance(outcome, Logged)
        assert outcome.index == 1

    desk.play(scene)


def test_a_fork_ends_the_writer_and_answers_nobody(cast: Cast, journal: FailingJournal) -> None:
    async def run() -> None:
        writer = Writer(Sequencer.open(journal, cast.keyring(), Hours()))
        SqliteJournal.append(journal, 0, [(bytes(380), None)])
        working = asyncio.create_task(writer.run())
        future = writer.submit([screened(cast.party.open())], SIZE)
        with pytest.raises(ForkError):
            await future
        with pytest.raises(ForkError):
            await working
        writer.close()

    asyncio.run(asyncio.wait_for(run(), 10))


def test_calls_come_between_groups(cast: Cast, desk: Desk) -> None:
    async def scene(writer: Writer) -> None:
        future = writer.submit([screened(cast.party.open())], SIZE)
        await future
        assert await writer.call(desk.groups.copy) == [1]

    desk.play(scene)


def test_draining_waits_for_what_was_taken_off_the_queue_too(cast: Cast, desk: Desk) -> None:
    async def scene(writer: Writer) -> None:
        first = writer.submit([screened(cast.party.open())], SIZE)
        await first
        second = writer.submit([screened(cast.party.summary())], SIZE)
        await asyncio.sleep(0)  # the writer has it, and waits for its beat
        await writer.drain()
        assert second.done()
        assert desk.groups == [1, 1]

    desk.play(scene)
