"""A budget of bytes that all streams share: first come, first served, no endless line, and nobody has it all."""

import asyncio
from collections import deque

from ledger.shares import Caller, Shares


class Budget:
    """At most ``most`` bytes are taken at once, and at most ``most_waiting`` wait for them.

    One request may be larger than ``most``: it is alone then. For one event loop.
    """

    def __init__(self, most: int, most_waiting: int) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._shares = Shares(most)
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.taken = 0
        self.awaited = 0

    async def take(self, size: int, caller: Caller) -> bool:
        """Take bytes, after whoever came before.

        Returns ``False`` at once when too many wait already, or the caller holds and awaits its share.
        """
        if not self._shares.fits(caller, size):
            return False
        self._shares.hold(caller, size)
        taken = False
        try:
            taken = await self._take(size)
        finally:
            if not taken:
                self._shares.give(caller, size)
        return taken

    def give(self, size: int, caller: Caller) -> None:
        """Give bytes back."""
        self._shares.give(caller, size)
        self._free(size)

    async def _take(self, size: int) -> bool:
        if not self._waiting and self._fits(size):
            self.taken += size
            return True
        if self.awaited + size > self._most_waiting:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self.awaited += size
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free(size)
            else:
                turn.cancel()
                self._admit()
            raise
        return True

    def _free(self, size: int) -> None:
        self.taken -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if not self._fits(size):
                    return
                self.taken += size
                turn.set_result(None)
            self.awaited -= size
            self._waiting.popleft()

    def _fits(self, size: int) -> bool:
        return self.taken == 0 or self.taken + size <= self._most
