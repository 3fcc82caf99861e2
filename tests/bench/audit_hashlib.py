"""``audit_hashlib``: as ``audit``, with rows hashed in the way that is always there."""

from unittest import mock

from tests.bench import audit
from tests.bench.figure import Figure
from verifier.rows import hashing

ALWAYS = "hashlib"


def measure() -> Figure:
    """Return the figure; the same bar."""
    with mock.patch.dict(hashing.BACKENDS, {ALWAYS: hashing.BACKENDS[ALWAYS]}, clear=True):
        return audit.measured("audit_hashlib")
