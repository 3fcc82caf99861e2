"""The errors of evidence.

::

    VerifierError
    └── EvidenceError   a log is not that of the agreement: nothing can be concluded from it
"""

from verifier.errors import VerifierError


class EvidenceError(VerifierError):
    """A log is not that of the agreement: nothing can be concluded from it."""
