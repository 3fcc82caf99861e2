"""Screening on threads of the ledger's own process: enough for a small ledger, and nothing to start."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ledger.keyring import Keyring
from ledger.refusal import Refusal
from ledger.screeners.interface import Request
from ledger.screening import Screened, parts_of, screen


class ScreeningThreads:
    """See :class:`ledger.screeners.interface.Screener`."""

    def __init__(self, keyring: Keyring, threads: int = 2) -> None:
        self._keyring = keyring
        self._threads = ThreadPoolExecutor(threads, "screen")

    async def start(self) -> None:
        """See :class:`Screener`."""

    async def screen(self, request: Request) -> list[Screened | Refusal]:
        """See :class:`Screener`."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._screen, request
        )

    async def close(self) -> None:
        """See :class:`Screener`."""
        self._threads.shutdown(cancel_futures=True)

    def _screen(self, request: Request) -> list[Screened | Refusal]:
        keyring = self._keyring
        results, shown = screen(
            parts_of(request.message),
            keyring.known,
            keyring.may_appear,
            keyring.pins.digest,
            keyring.pins.disclosures,
        )
        for key in shown:
            # Batches that were sent without waiting for this one's answer may be signed by the key it shows.
            keyring.show(key)
        return results
