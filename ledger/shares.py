"""Shares: half of what a ledger takes on at once is for whoever comes, the other half split evenly among its clients.

So nobody on the list can use up what the others need: whatever one holds, there is room for the share of each.
"""

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is, and how many clients share what it asks for."""

    name: str = ""
    among: int = 1


ANYBODY: Final = Caller()
"""Who calls where there is no list of clients."""
CALLER: Final[ContextVar[Caller]] = ContextVar("caller", default=ANYBODY)
"""Who makes the call that is being answered."""


class Shares:
    """Who holds how much of a room for ``most``. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._held: Counter[str] = Counter()

    def fits(self, caller: Caller, amount: int) -> bool:
        """Return whether a caller may hold so much more; one that holds nothing may hold one thing, however large."""
        held = self._held[caller.name]
        if not held or caller.among == 1 or 2 * (self._total + amount) <= self._most:
            return True
        return 2 * (held + amount) * caller.among <= self._most

    def hold(self, caller: Caller, amount: int) -> None:
        """Note what a caller holds."""
        self._total += amount
        self._held[caller.name] += amount

    def give(self, caller: Caller, amount: int) -> None:
        """Note what a caller holds no more."""
        self._total -= amount
        self._held[caller.name] -= amount
        if not self._held[caller.name]:
            del self._held[caller.name]
