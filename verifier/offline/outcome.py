"""What came of verifying something offline: what holds, what is not shown, what is refuted."""

from dataclasses import dataclass, field
from enum import Enum


class Conclusion(Enum):
    """What an outcome amounts to; refuted comes before incomplete, and nothing is verified by default."""

    VERIFIED = "verified"
    INCOMPLETE = "incomplete"
    REFUTED = "refuted"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is so: a stable code, and words. ``index`` is the record's, where it is about one."""

    reason: str
    message: str
    index: int | None = None


@dataclass(slots=True)
class Outcome:
    """What holds, what should have been shown and is not, what is false, and what could not be shown by such a file."""

    subject: str = ""
    verified: list[Remark] = field(default_factory=list)
    missing: list[Remark] = field(default_factory=list)
    refuted: list[Remark] = field(default_factory=list)
    beyond: list[Remark] = field(default_factory=list)

    def hold(self, reason: str, message: str) -> None:
        """Note what was verified."""
        self.verified.append(Remark(reason, message))

    def miss(self, reason: str, message: str, index: int | None = None) -> None:
        """Note what is missing."""
        self.missing.append(Remark(reason, message, index))

    def refute(self, reason: str, message: str, index: int | None = None) -> None:
        """Note what is false."""
        self.refuted.append(Remark(reason, message, index))

    @property
    def conclusion(self) -> Conclusion:
        """What it amounts to."""
        if self.refuted or not self.verified:
            return Conclusion.REFUTED
        return Conclusion.INCOMPLETE if self.missing else Conclusion.VERIFIED
