"""Token buckets, one a key: so much at once, and so much a second.

The memory of them is bounded by what they bound: a bucket that is full again says nothing, and is forgotten.
"""

from collections.abc import Callable, Hashable
from typing import Final

_SWEEP_FROM: Final = 1_024


class Buckets:
    """Buckets that hold ``most``, and gain ``per_s`` a second up to that. ``monotonic`` gives seconds."""

    def __init__(self, most: float, per_s: float, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._per_s = per_s
        self._monotonic = monotonic
        self._levels: dict[Hashable, tuple[float, float]] = {}
        self._sweep_at = _SWEEP_FROM

    def __len__(self) -> int:
        return len(self._levels)

    def level(self, key: Hashable) -> float:
        """Return what a bucket holds."""
        known = self._levels.get(key)
        return self._most if known is None else self._risen(*known, self._monotonic())

    def take(self, key: Hashable, amount: float) -> bool:
        """Take from a bucket, or nothing when it holds less; what is larger than a bucket empties a full one."""
        now = self._monotonic()
        known = self._levels.get(key)
        level = self._most if known is None else self._risen(*known, now)
        if level < min(amount, self._most):
            return False
        self._put(key, max(0.0, level - amount), now)
        return True

    def charge(self, key: Hashable, amount: float) -> None:
        """Take from a bucket what was used already: its level may fall below zero, down to one bucket's worth."""
        now = self._monotonic()
        known = self._levels.get(key)
        level = self._most if known is None else self._risen(*known, now)
        self._put(key, max(-self._most, level - amount), now)

    def _risen(self, level: float, since: float, now: float) -> float:
        return min(self._most, level + (now - since) * self._per_s)

    def _put(self, key: Hashable, level: float, now: float) -> None:
        self._levels[key] = (level, now)
        if len(self._levels) >= self._sweep_at:
            self._levels = {
                key: known
                for key, known in self._levels.items()
                if self._risen(*known, now) < self._most
            }
            self._sweep_at = max(_SWEEP_FROM, 2 * len(self._levels))
