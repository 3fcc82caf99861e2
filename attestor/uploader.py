"""The thread that repeats an uplink's rounds, so that a slow ledger holds up nothing else."""

import threading
from collections.abc import Callable

import structlog

from attestor.backoff import Backoff
from attestor.errors import SpoolError, UplinkError
from attestor.uplink import Uplink
from statements.errors import SubmissionError

_log = structlog.get_logger("stillwatch.agent")


class Uploader(threading.Thread):
    """Repeats an uplink's rounds until stopped, backing off while the ledger cannot be reached."""

    def __init__(self, uplink: Uplink, *, draw: Callable[[], float]) -> None:
        super().__init__(name="uplink", daemon=True)
        self._uplink = uplink
        self._backoff = Backoff(0.1, 30.0, draw)
        self._stopping = threading.Event()
        self._waking = threading.Event()

    @property
    def has_died(self) -> bool:
        """Whether it was started and has ended without having been told to."""
        return self.ident is not None and not self.is_alive() and not self._stopping.is_set()

    def run(self) -> None:
        """Work until stopped."""
        while not self._stopping.is_set():
            try:
                wait = 0.0 if self._uplink.round() else self._uplink.idle_s()
                self._backoff.succeed()
            except (SubmissionError, UplinkError, SpoolError) as error:
                wait = self._backoff.fail()
                _log.warning(
                    "uplink", reason=error.reason, why=str(error), again_in_s=round(wait, 2)
                )
            if wait:
                self._waking.wait(wait)
                self._waking.clear()

    def wake(self) -> None:
        """Say that there is something to send."""
        if not self._backoff.failures:
            self._waking.set()

    def stop(self) -> None:
        """End after the round in progress."""
        self._stopping.set()
        self._waking.set()
