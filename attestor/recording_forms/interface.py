"""What a form of recordings is."""

from collections.abc import Iterator, Sequence
from typing import Protocol

Row = tuple[int, int, int, Sequence[float | None]]
"""Its number for people, ``time_ms``, ``chip``, and a cell for each column; ``None`` is a blank."""


class FormReader(Protocol):
    """An open file. Raises RecordingError, with its path, for what is not of the form; what came before was good.

    ``columns`` are as the file has them, ``time_ms`` and ``chip`` included. ``unit`` is what rows are counted in,
    ``head`` and ``names`` where the header and the columns are: words for people.
    """

    unit: str
    head: str
    names: str
    header: str
    columns: tuple[str, ...]

    def rows(self) -> Iterator[Row]:
        """Yield what is left of the rows, in order."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class FormWriter(Protocol):
    """Writes rows into a file that somebody else opened, and will close. Raises OSError."""

    def write(self, time_ms: int, chip: int, cells: Sequence[float | None]) -> None:
        """Append a row."""
        ...

    def flush(self) -> None:
        """Hand on what the form can hand on by now."""
        ...

    def finish(self) -> None:
        """Write what the form's end is made of."""
        ...

    def leave(self) -> None:
        """Write nothing more."""
        ...
