"""The log's time: what its ticks say of when each record was logged.

A record was logged after the last tick before it, and by the first tick that covers it. A tick's time is the median of
its cosignatures' times; under the witness policy ``quorum none`` it is the ledger's own word.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from statements.log_trust import LogTrust
from tlog.errors import TlogError
from verifier.evidence.records import Int64
from verifier.mirror.prefix import LogPrefix

NO_TICK_BEFORE = -1
"""``not_before`` of a record before the first tick."""
NO_TICK_AFTER = 2**62
"""``not_after`` of a record that no tick covers yet."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick: its index in the log, the size that it covers, the signed note, and its time (Unix ms)."""

    index: int
    size: int
    note: bytes
    time_ms: int


@dataclass(frozen=True, slots=True)
class FalseTick:
    """A tick that no honest ledger logs: its index, a reason code, words, and the note that it holds."""

    index: int
    reason: str
    message: str
    note: bytes


@dataclass(frozen=True, slots=True, eq=False)
class LogTime:
    """When each index of a log was written: ``[not_before, not_after]``, Unix ms, by index.

    ``ticks`` are those that hold; ``false`` the others. ``as_of_ms`` is the time up to which the log is known: that of
    the newest tick, 0 before any.
    """

    not_before_ms: Int64
    not_after_ms: Int64
    ticks: tuple[Tick, ...]
    false: tuple[FalseTick, ...]
    as_of_ms: int

    def clamp(self, index: int, hint_ms: int) -> int:
        """Return the time in the bounds of an index that is nearest to the ledger's hint."""
        return int(min(max(hint_ms, self.not_before_ms[index]), self.not_after_ms[index]))


def judge_tick(
    prefix: LogPrefix, trust: LogTrust, index: int, note: bytes, time_ms: int
) -> Tick | FalseTick:
    """Return a tick, or what is false about it: its note must be the log's own, of a tree that it once was."""
    try:
        witnessed = trust.believe(note)
    except TlogError as error:
        return FalseTick(index, error.reason, f"the tick's checkpoint: {error}", note)
    seen, told_ms = witnessed.checkpoint, witnessed.quorum.time_ms
    if told_ms is not None and told_ms != time_ms:
        return FalseTick(
            index,
            "TICK_TIME",
            f"the tick at {index} says {time_ms}, and the median of its witnesses' times is {told_ms}",
            note,
        )
    if seen.size > index:
        return FalseTick(
            index,
            "TICK_FROM_FUTURE",
            f"the tick at {index} covers {seen.size} records, itself among them",
            note,
        )
    if prefix.root_at(seen.size) != seen.root:
        return FalseTick(
            index,
            "FORKED",
            f"the log signed a tree of {seen.size} records that is not the one it serves",
            note,
        )
    return Tick(index, seen.size, note, time_ms)


def read_time(size: int, ticks: Sequence[Tick], false: Sequence[FalseTick]) -> LogTime:
    """Return the time bounds of a log of ``size`` records.

    ``ticks`` are verified and in log order. A tick whose time is before that of an earlier one is false, and counts
    for nothing.
    """
    not_after = np.full(size, NO_TICK_AFTER, dtype=np.int64)
    kept: list[Tick] = []
    wrong = list(false)
    now, covered = 0, 0
    for tick in ticks:
        if tick.time_ms < now:
            wrong.append(
                FalseTick(
                    tick.index,
                    "TICK_WENT_BACK",
                    f"the tick at {tick.index} is {now - tick.time_ms} ms before an earlier one",
                    tick.note,
                )
            )
            continue
        kept.append(tick)
        now = tick.time_ms
        if tick.size > covered:
            not_after[covered : tick.size] = now
            covered = tick.size
    times = np.array([NO_TICK_BEFORE, *(tick.time_ms for tick in kept)], dtype=np.int64)
    not_before = times[np.searchsorted([tick.index for tick in kept], np.arange(size))]
    return LogTime(not_before, not_after, tuple(kept), tuple(wrong), now)
