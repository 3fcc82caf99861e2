"""Files that may change while a process runs: read again then, and believed only when they are good."""

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import structlog

from statements.errors import StatementError

LOOK_EVERY_S: Final = 1.0
"""Seconds between two looks at the files."""

R = TypeVar("R")
T = TypeVar("T")

_log = structlog.get_logger("stillwatch.tls")


class Watched(Generic[R, T]):
    """What files mean. Any thread may ask; it looks at them again when it is asked, once a second at most.

    ``read`` returns what they hold, ``parse`` what that means, the same object for as long as nothing changes. Of files
    that cannot be read or are not good, the log says why, and what was good before stays. Raises what ``read`` and
    ``parse`` raise when made: there is nothing good yet.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[], R],
        parse: Callable[[R], T],
        *,
        every_s: float = LOOK_EVERY_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._read = read
        self._parse = parse
        self._every_s = every_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._held = read()
        self._value = parse(self._held)
        self._due = monotonic() + every_s
        self._told = ""

    def get(self) -> T:
        """Return what the files mean."""
        with self._lock:
            if self._monotonic() >= self._due:
                self._due = self._monotonic() + self._every_s
                self._look()
            return self._value

    def _look(self) -> None:
        try:
            held = self._read()
            if held != self._held:
                self._value = self._parse(held)
                self._held = held
                _log.info("read again", what=self._what)
            self._told = ""
        except StatementError as error:
            if str(error) != self._told:
                self._told = str(error)
                _log.error(
                    "the new files are not good: what was read before stays",
                    what=self._what,
                    reason=error.reason,
                    why=str(error),
                )
