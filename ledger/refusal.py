"""Why a statement is not logged: a reason code, words for people, and what is wanted instead."""

from dataclasses import dataclass

from protos.stillwatch.ledger.v1 import ledger_pb2


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal. ``reason`` is the name of a value of ``Reason`` without its prefix."""

    reason: str
    message: str
    wanted_sequence: int | None = None

    @property
    def code(self) -> ledger_pb2.Reason.ValueType:
        """The value of ``Reason``."""
        return ledger_pb2.Reason.Value(f"REASON_{self.reason}")


class Refused(Exception):  # noqa: N818 - an answer on its way out, not a fault
    """Carries a refusal out of a check."""

    def __init__(self, reason: str, message: str, wanted_sequence: int | None = None) -> None:
        super().__init__(message)
        self.refusal = Refusal(reason, message, wanted_sequence)
