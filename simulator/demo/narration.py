"""How the demo tells its story: lines on stderr, and a progress bar where there is a terminal."""

from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from statements.clock import Clock

RECORDED = "recorded"
SIMULATED = "simulated"


class Narrator(Protocol):
    """Who tells the story as it happens."""

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        ...

    def say(self, line: str) -> None:
        """Tell one thing that happened. A line that shows telemetry says "recorded" or "simulated"."""
        ...

    def waiting(self, what: str, share: float) -> None:
        """Say what is waited for, and which share of the whole story is over; 0 to 1."""
        ...


def clock_text(instant_ms: int) -> str:
    """Return the time of day of an instant, as the story's lines begin: 12:34:56."""
    return datetime.fromtimestamp(instant_ms / 1000, UTC).strftime("%H:%M:%S")


def rfc3339(instant_ms: int) -> str:
    """Return an instant as RFC 3339 UTC, with milliseconds where it has any."""
    instant = datetime.fromtimestamp(instant_ms / 1000, UTC)
    spec = "milliseconds" if instant_ms % 1000 else "seconds"
    return instant.isoformat(timespec=spec).replace("+00:00", "Z")


class Narration:
    """Tells the story on ``stream``: with rich's progress bar on a terminal, in plain lines otherwise.

    A context manager. ``clock`` is set once the rehearsal's clock runs; lines then begin with its time.
    """

    def __init__(self, stream: TextIO) -> None:
        self.clock: Clock | None = None
        self._console = Console(file=stream, highlight=False, soft_wrap=True, markup=False)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._console.print(f"\n{title}", style="bold")

    def say(self, line: str) -> None:
        """Tell one thing that happened."""
        at = "        " if self.clock is None else clock_text(self.clock.now_ms())
        self._console.print(f"  {at}  {line}")

    def waiting(self, what: str, share: float) -> None:
        """Move the progress bar, where there is one; plain lines are not cluttered with waiting."""
        if self._progress is None:
            return
        if self._task is None:
            self._task = self._progress.add_task(what, total=1.0)
        self._progress.update(self._task, description=what, completed=share)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
