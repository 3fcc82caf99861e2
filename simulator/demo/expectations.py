"""What the story promises: each promise is checked as it is told, and listed at the end."""

from dataclasses import dataclass, field

from simulator.demo.narration import Narrator


@dataclass(frozen=True, slots=True)
class Expectation:
    """One promise: what was to be, what was found, and whether that is the same."""

    promise: str
    found: str
    met: bool


@dataclass(slots=True)
class Expectations:
    """The promises so far, in order. A missed one does not stop the story; it makes the demo exit 1."""

    narrator: Narrator
    kept: list[Expectation] = field(default_factory=list)

    def expect(self, promise: str, met: bool, found: object) -> None:
        """Note whether a promise was met; a missed one is told at once."""
        self.kept.append(Expectation(promise, str(found), met))
        if not met:
            self.narrator.say(f"NOT AS TOLD: {promise}; found: {found}")

    @property
    def missed(self) -> tuple[Expectation, ...]:
        """Those that were not met."""
        return tuple(one for one in self.kept if not one.met)
