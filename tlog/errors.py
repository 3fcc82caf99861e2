"""The errors of this package.

::

    TlogError
    ├── ProofError        a proof does not lead from what is held to what is claimed
    ├── TileError         a tile or bundle is not what its path says
    └── NoteError         a note does not parse, or its signature does not verify
        └── CheckpointError   a note is not a checkpoint
"""


class TlogError(Exception):
    """A log's bytes are not what they claim to be.

    ``reason`` is a stable code for programs; the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ProofError(TlogError):
    """A proof does not lead from what is held to what is claimed."""


class TileError(TlogError):
    """A tile or bundle is not what its path says."""


class NoteError(TlogError):
    """A note does not parse, or its signature does not verify."""


class CheckpointError(NoteError):
    """A note is not a checkpoint."""
