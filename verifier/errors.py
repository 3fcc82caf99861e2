"""The root of this package's errors; each room keeps its own leaves beside its code.

::

    VerifierError
    └── AgreementError     an agreement does not parse, contradicts itself, or asks for the impossible
        ├── UnitError      a value has no unit, an unknown one, or one of another dimension
        └── ConditionError a condition does not compile, or uses what conditions may not
"""


class VerifierError(Exception):
    """Something could not be verified.

    ``reason`` is a stable code for programs; the message is for people: what was wrong, where, and what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["VerifierError"], tuple[str | bytes, ...]]:
        """Let a worker process raise it to the one that gave it the work."""
        return type(self), (self.reason, str(self))
