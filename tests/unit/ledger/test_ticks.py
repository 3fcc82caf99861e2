"""What time it is, said in the log."""

import asyncio
import time
from dataclasses import replace
from hashlib import sha256

import pytest

from ledger.publisher import Publisher
from ledger.sequencer import Sequencer
from ledger.ticks import Ticker
from protos.stillwatch.statement.v1 import log_pb2
from statements.body import decode_body
from statements.clock import Clock, ScaledClock
from statements.header import decode_header
from statements.kinds import Kind, parse_content
from statements.record import decode_record
from tests.unit.ledger.cast import ORIGIN, T0, Cast, FailingJournal, FailingStore, Hours


def ticker(cast: Cast, journal: FailingJournal, clock: Clock, every_ms: int = 60_000) -> Ticker:
    return Ticker(
        Sequencer(journal, cast.keyring(), clock),
        clock,
        key=cast.ledger_key,
        origin=ORIGIN,
        every_ms=every_ms,
        draw=cast.draw.randbytes,
    )


def test_a_tick_names_the_time_and_the_checkpoint_over_which_it_is_said(
    cast: Cast, journal: FailingJournal, store: FailingStore, hours: Hours
) -> None:
    publisher = Publisher(journal, store, cast.signer)
    publisher.open()
    published = publisher.publish()
    logged = ticker(cast, journal, hours).tick(published)
    assert logged is not None
    header = decode_header(decode_record(logged.record).header)
    assert header.kind == Kind.TICK
    assert header.author == cast.ledger_key.key_id
    assert (header.seen_log, header.seen_size, header.seen_root) == (
        sha256(ORIGIN.encode()).digest(),
        published.size,
        published.root,
    )
    ((_, stored),) = journal.read(0, 1)
    assert stored is not None
    said = parse_content(Kind.TICK, decode_body(stored))
    assert said == log_pb2.Tick(checkpoint=published.note, time=T0)


def test_a_tick_over_a_tree_covers_only_what_came_before_it(
    cast: Cast, journal: FailingJournal, store: FailingStore, hours: Hours
) -> None:
    publisher = Publisher(journal, store, cast.signer)
    publisher.open()
    sequencer = Sequencer(journal, cast.keyring(), hours)
    said = Ticker(
        sequencer,
        hours,
        key=cast.ledger_key,
        origin=ORIGIN,
        every_ms=60_000,
        draw=cast.draw.randbytes,
    )
    for _ in range(3):
        published = publisher.publish()
        logged = said.tick(published)
        assert logged is not None
        header = decode_header(decode_record(logged.record).header)
        assert header.seen_size == published.size <= logged.index
        hours.ms += 60_000


@pytest.mark.parametrize("restarted", [False, True])
def test_a_witness_that_lies_about_time_has_no_tick_go_back(
    cast: Cast, journal: FailingJournal, store: FailingStore, hours: Hours, restarted: bool
) -> None:
    publisher = Publisher(journal, store, cast.signer)
    publisher.open()
    published = publisher.publish()
    said = ticker(cast, journal, hours)
    assert said.tick(replace(published, time_ms=T0 + 60_000)) is not None
    if restarted:
        said = Ticker(
            Sequencer.open(journal, cast.keyring(), hours),
            hours,
            key=cast.ledger_key,
            origin=ORIGIN,
            every_ms=60_000,
            draw=cast.draw.randbytes,
        )
    size = journal.size()
    assert said.tick(replace(published, time_ms=T0 + 59_000)) is None
    assert journal.size() == size
    assert said.tick(replace(published, time_ms=T0 + 60_000)) is not None


def test_a_clock_that_is_set_back_by_years_stops_no_ticks(
    cast: Cast, journal: FailingJournal, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = 0

    async def nap(seconds: float) -> None:
        nonlocal naps
        naps += 1
        assert naps < 1_000, "it waits for an instant that is years away"
        hours.ms += round(seconds * 1000)
        if naps == 60:
            hours.ms -= 10 * 365 * 86_400_000

    monkeypatch.setattr(asyncio, "sleep", nap)
    assert len(run(ticker(cast, journal, hours), hours, 4)) == 4


class EnoughError(Exception):
    """Ends a ticker that would run for ever."""


def run(said: Ticker, clock: Clock, count: int) -> list[int]:
    """Return when the first ``count`` ticks came."""
    times: list[int] = []

    async def tick() -> None:
        times.append(clock.now_ms())
        if len(times) == count:
            raise EnoughError

    with pytest.raises(EnoughError):
        asyncio.run(said.run(tick))
    return times


def test_the_first_tick_comes_at_once_and_the_others_on_multiples_of_their_span(
    cast: Cast, journal: FailingJournal, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nap(seconds: float) -> None:
        assert 0 < seconds <= 0.5, "a clock that is set is noticed soon"
        hours.ms += round(seconds * 1000)

    monkeypatch.setattr(asyncio, "sleep", nap)
    hours.ms = T0 + 30_123
    assert run(ticker(cast, journal, hours), hours, 4) == [
        T0 + 30_123,
        T0 + 60_000,
        T0 + 120_000,
        T0 + 180_000,
    ]


def test_a_tick_that_was_slept_through_is_not_caught_up_with(
    cast: Cast, journal: FailingJournal, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nap(seconds: float) -> None:
        hours.ms += 200_000

    monkeypatch.setattr(asyncio, "sleep", nap)
    assert run(ticker(cast, journal, hours), hours, 3) == [T0, T0 + 200_000, T0 + 400_000]


def test_on_a_scaled_clock_naps_are_short(
    cast: Cast, journal: FailingJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ScaledClock(time.time_ns() // 1_000_000, T0 + 1, 6_000.0)
    naps: list[float] = []
    real = asyncio.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await real(seconds)

    monkeypatch.setattr(asyncio, "sleep", nap)
    times = run(ticker(cast, journal, clock), clock, 3)
    assert max(naps) <= 0.01, "a minute passes in ten milliseconds"
    assert len({moment // 60_000 for moment in times}) == 3
