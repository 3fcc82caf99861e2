"""Following a log: its mirror is brought up to date whenever it has moved on, until told to stop.

What ails the log, or the way to it, is told and tried again; what ails the mirror, and a log that forked, ends it. A
log that says no time any more is told of once, and once it goes on.
"""

import threading
import time
from dataclasses import dataclass
from typing import Final

import structlog

from statements.errors import SubmissionError
from statements.ledger_client import LedgerClient
from statements.log_trust import LogTrust
from statements.tls import ClientTls
from verifier.mirror.errors import MirrorError
from verifier.mirror.refresh import Refreshed, refresh
from verifier.mirror.shelf import Shelf
from verifier.mirror.source import Source

OURS: Final = frozenset({"FORKED", "MIRROR_DAMAGED", "MIRROR_UNWRITABLE"})
"""Reasons that trying again does not mend."""
_LEAST_GAP_S: Final = 0.2
"""Seconds between two looks at a log, however often it is said to have moved on."""

_log = structlog.get_logger("stillwatch.mirror")


class Bell:
    """Rung when there may be something new, or when it is time to stop."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self.stopping = threading.Event()

    def ring(self) -> None:
        """Say that the log may have moved on."""
        self._rung.set()

    def stop(self) -> None:
        """Say that it is time to stop; a signal's handler may call this."""
        self.stopping.set()
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Wait until it is rung, or so long."""
        self._rung.wait(seconds)
        if not self.stopping.is_set():
            self._rung.clear()


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks when nobody rings, and seconds without a tick after which the log has stalled."""

    every_s: float
    stalled_s: float


class Follower:
    """Keeps a mirror up to date. ``run`` returns when the bell says to stop."""

    def __init__(
        self, source: Source, shelf: Shelf, trust: LogTrust, pace: Pace, bell: Bell
    ) -> None:
        self._source = _UntilStopped(source, bell)
        self._shelf = shelf
        self._trust = trust
        self._pace = pace
        self._bell = bell
        self._newest: Refreshed | None = None
        self._ticked = time.monotonic()
        self._stalled = False
        self._ailing: str | None = None

    def run(self, *, everything: bool = False) -> Refreshed | None:
        """Follow; return how the mirror stands then, ``None`` when the log could not be read even once.

        With ``everything``, what the mirror holds is checked first. Raises :class:`MirrorError` for the reasons in
        :data:`OURS`.
        """
        bell = self._bell
        while not bell.stopping.is_set():
            began = time.monotonic()
            try:
                newest = refresh(self._source, self._shelf, self._trust, everything=everything)
            except MirrorError as error:
                if error.reason in OURS:
                    raise
                if not bell.stopping.is_set():
                    self._tell_of(error)
                    self._look_at_the_time()
                    bell.stopping.wait(self._pace.every_s)
                continue
            self._tell_of(None)
            everything = False
            self._take(newest)
            self._look_at_the_time()
            bell.stopping.wait(max(0.0, began + _LEAST_GAP_S - time.monotonic()))
            bell.wait(min(self._pace.every_s, self._until_stalled()))
        _log.info("stopped", **self._size())
        return self._newest

    def _tell_of(self, error: MirrorError | None) -> None:
        """Tell of what ails the log, once until it is something else, and once when nothing does any more."""
        reason = None if error is None else error.reason
        if error is not None and reason != self._ailing:
            _log.warning("cannot follow the log", reason=reason, error=str(error))
        elif error is None and self._ailing is not None:
            _log.info("following the log again")
        self._ailing = reason

    def _size(self) -> dict[str, int]:
        return {} if self._newest is None else {"size": self._newest.size}

    def _take(self, newest: Refreshed) -> None:
        self._newest = newest
        if newest.ticks:
            self._ticked = time.monotonic()
        if newest.size > newest.before:
            _log.info(
                "mirrored",
                size=newest.size,
                new=newest.size - newest.before,
                ticks=newest.ticks,
                lacking=newest.lacking,
                requests=newest.requests,
                bytes=newest.fetched_bytes,
            )

    def _until_stalled(self) -> float:
        """Return in how many seconds the log will have said no time for too long."""
        left = self._ticked + self._pace.stalled_s - time.monotonic()
        return self._pace.every_s if self._stalled else max(0.0, left) + 0.01

    def _look_at_the_time(self) -> None:
        """Tell of a log that says no time any more, once, and when it does again."""
        silent_s = time.monotonic() - self._ticked
        if self._stalled == (silent_s > self._pace.stalled_s):
            return
        self._stalled = not self._stalled
        if self._stalled:
            words = f"no tick for {silent_s:.0f} s: what is logged meanwhile has no time. Ask the ledger"
            _log.error("the log has stalled", reason="LOG_STALLED", error=words, **self._size())
        else:
            _log.info("the log goes on", **self._size())


class _UntilStopped:
    """A source that is not read once it is time to stop."""

    def __init__(self, source: Source, bell: Bell) -> None:
        self._source = source
        self._bell = bell

    @property
    def place(self) -> str:
        return self._source.place

    def read(self, path: str, limit: int) -> bytes | None:
        if self._bell.stopping.is_set():
            raise MirrorError("STOPPED", f"reading from {self.place} was stopped")
        return self._source.read(path, limit)


class Listener:
    """Rings the bell at each checkpoint that a ledger tells of. What it tells is not believed, only looked into.

    A ledger that cannot be reached is asked again; meanwhile the log is looked at in its own time. Raises
    :class:`CertificateError` as :class:`LedgerClient` does.
    """

    def __init__(self, target: str, tls: ClientTls | None, bell: Bell, again_s: float) -> None:
        LedgerClient(target, tls).close()  # a target that needs TLS and has none is refused at once
        self._target = target
        self._tls = tls
        self._bell = bell
        self._again_s = again_s
        self._client: LedgerClient | None = None
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more; the bell must have been told to stop."""
        if self._client is not None:
            self._client.close()
        self._thread.join(1.0)

    def _listen(self) -> None:
        ailing: str | None = None
        while not self._bell.stopping.is_set():
            try:
                with LedgerClient(self._target, self._tls) as self._client:
                    for _ in self._client.follow():
                        ailing = None
                        self._bell.ring()
            except SubmissionError as error:
                if error.reason != ailing and not self._bell.stopping.is_set():
                    words = str(error)
                    _log.warning("cannot listen to the ledger", reason=error.reason, error=words)
                ailing = error.reason
            self._bell.stopping.wait(self._again_s)
