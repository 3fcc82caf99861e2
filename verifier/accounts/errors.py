"""The errors of the accounts.

::

    VerifierError
    └── AccountsError          evidence cannot be accounted for
        ├── ChipTableError     the chip table does not parse, or lacks a figure or its source
        └── ColumnsError       a summary does not have the shape that it declares
"""

from verifier.errors import VerifierError


class AccountsError(VerifierError):
    """Evidence cannot be accounted for."""


class ChipTableError(AccountsError):
    """The chip table does not parse, or lacks a figure or its source."""


class ColumnsError(AccountsError):
    """A summary does not have the shape that it declares: it counts as missing."""
