"""What differs between the stories that the demo tells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from simulator.demo.cast import Cast
from simulator.demo.lab import Lab

Casting: TypeAlias = Callable[[Path, Cast], tuple[Lab, ...]]
"""Makes the labs in a folder, one for each party of the agreement, with whatever their agents replay."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One story: its labs, its terms, and its times.

    ``addition`` is TOML added to the published agreement, whose keys are drawn as everybody's are. ``terms`` are the
    agreement's values that are not the published example's, by dotted place. ``rate`` is how much faster than the
    system's the rehearsal's clock runs; ``minutes`` is how long the story is expected to take on it.
    Labs' agents replay from the first window after the trigger on; ``audited_from_s`` after that instant begins the
    audited period, which lasts ``audited_ms`` milliseconds. ``telemetry`` says how readings were made, for people.
    """

    title: str
    telemetry: str
    addition: str
    terms: Mapping[str, str]
    rate: float
    minutes: float
    audited_from_s: int
    audited_ms: int
    labs: Casting
