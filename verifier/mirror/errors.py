"""The errors of the mirror.

::

    VerifierError
    └── MirrorError                a log's files cannot be read, or are not what they claim to be
        └── InconsistentLogError   two signed checkpoints that no honest log signs both
"""

from verifier.errors import VerifierError


class MirrorError(VerifierError):
    """A log's files cannot be read, or are not what they claim to be."""


class InconsistentLogError(MirrorError):
    """The log signed two checkpoints of which the later does not extend the earlier.

    ``held`` and ``served`` are the two signed notes: together they are the proof, for anybody.
    """

    def __init__(self, reason: str, message: str, held: bytes, served: bytes) -> None:
        super().__init__(reason, message)
        self.held = held
        self.served = served
