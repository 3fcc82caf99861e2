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

    def __reduce__(self) -> tuple[type[VerifierError], tuple[str | bytes, ...]]:
        """As of every error of the verifier's, with both notes."""
        return type(self), (self.reason, str(self), self.held, self.served)

    def spelt_out(self) -> str:
        """Return both signed notes, for whoever has to keep them."""
        return "".join(
            f"--- signed checkpoint, {name} ---\n{note.decode(errors='replace')}\n"
            for name, note in (("held", self.held), ("served", self.served))
        )

    @property
    def advice(self) -> str:
        """What to do with them."""
        if self.reason == "FORKED":
            return "keep both, they are the proof"
        return "keep both; an older checkpoint alone proves nothing"
