"""Waiting ever longer before something that failed is tried again."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with jitter: the n-th wait is drawn from [1/2, 1] x least x 2^n s."""

    least_s: float
    most_s: float
    draw: Callable[[], float]
    failures: int = 0

    def fail(self) -> float:
        """Return the seconds to wait after one more failure."""
        span = min(self.most_s, self.least_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return span * (0.5 + 0.5 * self.draw())

    def succeed(self) -> None:
        """Start again from the shortest wait."""
        self.failures = 0


@dataclass(slots=True)
class Patience:
    """A backoff, and the instant before which nothing is tried: seconds that never go back."""

    backoff: Backoff
    not_before: float = 0.0
