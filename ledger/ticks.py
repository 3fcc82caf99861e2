"""Ticks: once a minute of its clock the ledger says in the log what time it is, over the newest signed checkpoint.

A tick's time is the median of the cosignatures' times; under the witness policy ``quorum none`` it is the ledger's own
word. What the checkpoint covers was logged by then; what comes after the tick was logged later.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

import structlog

from ledger.publisher import Published
from ledger.sequencer import Draw, Logged, Sequencer
from protos.stillwatch.statement.v1 import log_pb2
from statements.author import Seen
from statements.body import decode_body
from statements.clock import Clock, ScaledClock
from statements.kinds import Kind, parse_content
from statements.signing import SigningKey

_LONGEST_NAP_S: Final = 0.5

_log = structlog.get_logger("stillwatch.ledger")


class Ticker:
    """Says the time of one log, every ``every_ms`` of its clock, on multiples of that."""

    def __init__(
        self,
        sequencer: Sequencer,
        clock: Clock,
        *,
        key: SigningKey,
        origin: str,
        every_ms: int,
        draw: Draw,
    ) -> None:
        self._sequencer = sequencer
        self._key = key
        self._log = sha256(origin.encode()).digest()
        self._clock = clock
        self._every_ms = every_ms
        self._draw = draw
        self._newest_ms: int | None = None

    def tick(self, published: Published) -> Logged | None:
        """Log a tick over a checkpoint that was just signed; its time is the witnesses', where they gave one.

        Returns ``None``, and logs nothing, when that is before the last tick's.
        """
        time_ms = self._sequencer.now_ms() if published.time_ms is None else published.time_ms
        if self._newest_ms is None:
            self._newest_ms = self._said_last()
        if time_ms < self._newest_ms:
            _log.error(
                "the witnesses' time is before that of the last tick: no tick is said; one of them may lie",
                reason="TICK_WENT_BACK",
                behind_s=(self._newest_ms - time_ms) / 1000,
            )
            return None
        tick = log_pb2.Tick(checkpoint=published.note, time=time_ms)
        seen = Seen(self._log, published.size, published.root)
        logged = self._sequencer.say(self._key, tick, draw=self._draw, seen=seen)
        self._newest_ms = time_ms
        return logged

    def _said_last(self) -> int:
        """Return the time of the newest tick in the log, 0 before any: it is the last that the ledger said."""
        stored = self._sequencer.newest_body(self._key.key_id, Kind.TICK)
        if stored is None:
            return 0
        tick = parse_content(Kind.TICK, decode_body(stored))
        assert isinstance(tick, log_pb2.Tick)  # noqa: S101 - for the type checker
        return tick.time

    async def run(self, tick: Callable[[], Awaitable[None]]) -> None:
        """Call ``tick`` at once, and then whenever one is due."""
        while True:
            await tick()
            due = (self._clock.now_ms() // self._every_ms + 1) * self._every_ms
            # More than one span is left when the clock was set back: what is due is then another instant.
            while 0 < (left := due - self._clock.now_ms()) <= self._every_ms:
                await asyncio.sleep(min(_LONGEST_NAP_S, _real_seconds(self._clock, left)))


def _real_seconds(clock: Clock, milliseconds: int) -> float:
    rate = clock.rate if isinstance(clock, ScaledClock) else 1.0
    return milliseconds / 1000 / rate
