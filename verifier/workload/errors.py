"""The errors of the workload's signs.

::

    VerifierError
    └── SeriesError    a power series is not one from which a sign can be read
"""

from verifier.errors import VerifierError


class SeriesError(VerifierError):
    """A power series is not one from which a sign can be read."""
