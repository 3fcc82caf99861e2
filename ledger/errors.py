"""The errors of this package.

::

    LedgerError
    ├── JournalError    the journal could not make something durable, or is damaged
    ├── ObjectError     the object store could not be read or written
    ├── WitnessStoreError   a witness's memory could not be read or written
    ├── QuorumError     witnesses do not answer, or are no quorum
    ├── ForkError       signing would fork the log: final
    │   └── UnsyncedError   the journal's disk did not take what it was given: going on could fork the log
    ├── ProcessError    a process beside the ledger's died, or talks nonsense
    ├── ExportError     a log's folder cannot give what a bundle or proof needs
    └── SetupError      a ledger's folder, keys, agreement or addresses do not fit

What a caller of the service did wrong is a :class:`ledger.refusal.Refusal`, which is an answer and not an error.
"""


class LedgerError(Exception):
    """A ledger cannot do its work.

    ``reason`` is a stable code for programs; the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class JournalError(LedgerError):
    """The journal could not make something durable, or is damaged."""


class ObjectError(LedgerError):
    """The object store could not be read or written."""


class WitnessStoreError(LedgerError):
    """A witness's memory could not be read or written."""


class QuorumError(LedgerError):
    """Witnesses do not answer, or those that do are no quorum."""


class ForkError(LedgerError):
    """Signing would fork the log."""


class ProcessError(LedgerError):
    """A process beside the ledger's own died, or talks nonsense."""


class UnsyncedError(ForkError):
    """A sync of the journal failed, so that nobody knows what is on the disk: the process ends, and the next one looks.

    To go on in this one could acknowledge, or sign, on top of what a power cut takes away.
    """


class ExportError(LedgerError):
    """A log's folder cannot give what a bundle or proof needs."""


class SetupError(LedgerError):
    """A ledger's folder, keys, agreement or addresses do not fit together."""
