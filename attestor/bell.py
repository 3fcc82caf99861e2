"""What the agent's main thread waits on: nothing to do costs no wake-ups."""

from queue import Empty, SimpleQueue


class Bell:
    """Wakes the one thread that waits for it. Any thread may ring it, and a signal handler, too."""

    def __init__(self) -> None:
        self._rung: SimpleQueue[None] = SimpleQueue()  # whose put may interrupt its own get

    def ring(self) -> None:
        """Wake the waiting thread; the next wait ends at once when nobody waits."""
        self._rung.put(None)

    def wait(self, seconds: float) -> None:
        """Return when it is rung, or after that many seconds of real time."""
        try:
            self._rung.get(timeout=seconds)
            while True:
                self._rung.get_nowait()  # however often it was rung, it is heard once
        except Empty:
            return
