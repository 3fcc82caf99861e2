"""The errors of this package.

::

    StatementError
    ├── HeaderError       a header is not the one layout of its version
    ├── BodyError         a body does not have its digest, or does not parse
    ├── SealError         a sealed body or content key does not open
    ├── RecordError       a leaf is not a record
    ├── SignatureError    a signature is malformed, malleable or does not verify
    ├── BackendError      a library that verifies signatures faster cannot be used here
    ├── KeyFileError      a key file is missing, readable by others, or not a key
    ├── CertificateError  a certificate is missing or not good, or a connection would be without one
    ├── PinsError         an agreement's root of trust does not parse
    ├── KeyLifeError      somebody says about keys what is not theirs to say
    ├── FeatureError      a feature matrix has the wrong shape
    ├── OfflineBundleError  a file is no offline bundle, or cannot become one
    └── SubmissionError   a ledger could not be reached, or refused a statement
"""


class StatementError(Exception):
    """Something said is not what it claims to be.

    ``reason`` is a stable code for programs; the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class HeaderError(StatementError):
    """A header is not in the one layout of its version."""


class BodyError(StatementError):
    """A body does not have its digest, or does not parse."""


class SealError(StatementError):
    """A sealed body or content key does not open, or not to what was named."""


class RecordError(StatementError):
    """A log's leaf is not a record."""


class SignatureError(StatementError):
    """A signature is malformed, malleable, or does not verify."""


class BackendError(StatementError):
    """A library that verifies many signatures at once is not there, or cannot be used on this machine."""


class KeyFileError(StatementError):
    """A key file is missing, readable by others, or holds no key."""


class CertificateError(StatementError):
    """A certificate is missing or not good, or a connection that needs one would be without."""


class PinsError(StatementError):
    """The root of trust in an agreement does not parse."""


class KeyLifeError(StatementError):
    """Somebody says about keys what is not theirs to say."""


class FeatureError(StatementError):
    """A feature matrix has the wrong shape."""


class OfflineBundleError(StatementError):
    """A file is no offline bundle, or cannot become one."""


class SubmissionError(StatementError):
    """A ledger could not be reached, or refused a statement.

    ``wanted_sequence`` is what the ledger asks for next when the reason is a
    gap, a fork or a wrong previous.
    """

    def __init__(self, reason: str, message: str, wanted_sequence: int | None = None) -> None:
        super().__init__(reason, message)
        self.wanted_sequence = wanted_sequence
