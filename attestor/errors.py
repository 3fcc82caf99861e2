"""What can go wrong in the agent.

AttestorError
 ├─ RecordingError   a recording or a log of telemetry cannot be read or written
 ├─ SourceError      a source of telemetry cannot be opened or read
 ├─ ConfigError      the agent's configuration is wrong
 ├─ IdentityError    a key, token or enrolment does not fit
 ├─ SpoolError       the spool cannot be opened, read or written
 └─ UplinkError      the ledger refused, cannot be reached, or contradicts itself
"""


class AttestorError(Exception):
    """Root of the agent's errors.

    ``reason`` is a stable code (UPPER_SNAKE) for programs; the message tells a person what was
    wrong, where, and what to do.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RecordingError(AttestorError):
    """A recording or power log is malformed, truncated or unreadable."""


class SourceError(AttestorError):
    """A source cannot be opened or read.

    ``permanent`` says that trying again cannot help: a recording stays broken, a driver may come
    back.
    """

    def __init__(self, reason: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(reason, message)
        self.permanent = permanent


class ConfigError(AttestorError):
    """The configuration lacks something, or holds something that is not understood."""


class IdentityError(AttestorError):
    """A key, token or enrolment request does not fit."""


class SpoolError(AttestorError):
    """The spool cannot be opened, read or written."""


class UplinkError(AttestorError):
    """The ledger cannot be reached, refused for good, or contradicts what it said before."""
