"""The errors of evidence.

::

    VerifierError
    └── EvidenceError   a log is not that of the agreement: nothing can be concluded from it
"""

from verifier.errors import VerifierError


class EvidenceError(VerifierError):
    """A log is not that of the agreement: nothing can be concluded from it."""


class KeyWithheldError(EvidenceError):
    """A body is sealed under a content key whose statement the log holds and does not serve."""


class UnreadError(EvidenceError):
    """A body is sealed to readers none of whose keys the audit was given; the message is the class's name."""
