"""Token buckets, one a key: so much at once, and so much a second.

The memory of them is bounded by what they bound: a bucket that is full again says nothing, and is forgotten.
"""

from collections.abc import Callable, Hashable
from typing import Final

_SWEEP_FROM: Final = 1_024


class Buckets:
    """Buckets that hold ``most``, and gain ``per_s`` (above 0) a second up to that. ``monotonic`` gives seconds.

    Of each is known when it will be full again, and so what it holds now: one number, for a bucket is asked about each
    statement.
    """

    def __init__(self, most: float, per_s: float, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._per_s = per_s
        self._monotonic = monotonic
        self._full_at: dict[Hashable, float] = {}
        self._sweep_at = _SWEEP_FROM

    def __len__(self) -> int:
        return len(self._full_at)

    def level(self, key: Hashable) -> float:
        """Return what a bucket holds."""
        now = self._monotonic()
        return self._most - (max(self._full_at.get(key, now), now) - now) * self._per_s

    def take(self, key: Hashable, amount: float) -> bool:
        """Take from a bucket, or nothing when it holds less; what is larger than a bucket empties a full one."""
        now = self._monotonic()
        full = self._full_at.get(key, now)
        owed = full - now if full > now else 0.0
        if amount > self._most - owed * self._per_s:
            if owed or amount <= self._most:
                return False
            amount = self._most
        self._full_at[key] = now + owed + amount / self._per_s
        if len(self._full_at) >= self._sweep_at:
            self._sweep(now)
        return True

    def charge(self, key: Hashable, amount: float) -> None:
        """Take from a bucket what was used already: its level may fall below zero, down to one bucket's worth."""
        now = self._monotonic()
        owed = max(self._full_at.get(key, now) - now, 0.0) + amount / self._per_s
        self._full_at[key] = now + min(owed, 2 * self._most / self._per_s)
        if len(self._full_at) >= self._sweep_at:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Forget buckets that are full."""
        self._full_at = {key: full for key, full in self._full_at.items() if full > now}
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._full_at))
