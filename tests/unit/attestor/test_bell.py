"""The bell: what is rung is heard, by one thread, and nobody waits for what has been rung already."""

import os
import signal
import threading
import time
from types import FrameType

from attestor.bell import Bell


def test_a_bell_that_was_rung_before_is_heard_at_once_and_once() -> None:
    bell = Bell()
    for _ in range(3):
        bell.ring()
    began = time.monotonic()
    bell.wait(10.0)
    assert time.monotonic() - began < 5.0
    began = time.monotonic()
    bell.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_another_thread_wakes_whoever_waits() -> None:
    bell = Bell()
    threading.Timer(0.05, bell.ring).start()
    began = time.monotonic()
    bell.wait(10.0)
    assert time.monotonic() - began < 5.0


def test_a_signal_wakes_the_very_thread_that_it_interrupts() -> None:
    bell = Bell()

    def handle(_signum: int, _frame: FrameType | None) -> None:
        bell.ring()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        began = time.monotonic()
        bell.wait(10.0)
        assert time.monotonic() - began < 5.0
    finally:
        signal.signal(signal.SIGUSR1, before)
