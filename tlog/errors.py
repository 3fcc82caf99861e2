"""The errors of this package.

::

    TlogError
    ├── ProofError        a proof does not lead from what is held to what is claimed
    ├── TileError         a tile or bundle is not what its path says
    ├── PolicyError       a trust policy makes no sense, or is not met
    ├── WitnessError      a witness refuses to cosign
    └── NoteError         a note does not parse, or its signature does not verify
        └── CheckpointError   a note is not a checkpoint
"""

from http import HTTPStatus


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


class WitnessError(TlogError):
    """A witness refuses to cosign; ``status`` is the HTTP status to answer with, ``known_size`` what it knows."""

    def __init__(
        self, status: HTTPStatus, reason: str, message: str, known_size: int | None = None
    ) -> None:
        super().__init__(reason, message)
        self.status = status
        self.known_size = known_size


class PolicyError(TlogError):
    """A trust policy makes no sense, or is not met."""


class NoteError(TlogError):
    """A note does not parse, or its signature does not verify."""


class CheckpointError(NoteError):
    """A note is not a checkpoint."""
