"""What can go wrong in the simulator."""


class SimulatorError(Exception):
    """Root of the simulator's errors.

    ``reason`` is a stable code in UPPER_SNAKE; the message says what was wrong, where, and what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WorldError(SimulatorError):
    """A world, workload or strategy that cannot be."""


class ProcessError(SimulatorError):
    """A child process that could not start, died, or answered with an error."""


class StoryError(SimulatorError):
    """The story of the demo cannot go on."""
