"""What an examination of a served log found."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong: the file that it is in, a reason code, and words."""

    place: str
    reason: str
    message: str


@dataclass(slots=True)
class Examination:
    """What was found. ``size`` is the checkpoint's; ``held`` counts bodies that are there."""

    origin: str = ""
    size: int = 0
    held: int = 0
    flaws: list[Flaw] = field(default_factory=list)

    def note(self, place: str, reason: str, message: str) -> None:
        """Add a flaw."""
        self.flaws.append(Flaw(place, reason, message))
