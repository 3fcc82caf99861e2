"""``audit_hashlib``: as ``audit``, all of it done in the ways that are always there: hashlib, numpy, cryptography."""

from unittest import mock

from statements.verification import registry
from statements.verification.registry import Choice
from statements.verification.singly import Singly
from tests.bench import audit
from tests.bench.figure import Figure
from verifier.rows import hashing, template

HASHED = "hashlib"
READ = "numpy"


def measure() -> Figure:
    """Return the figure; the same bar."""
    with (
        mock.patch.dict(hashing.BACKENDS, {HASHED: hashing.BACKENDS[HASHED]}, clear=True),
        mock.patch.dict(template.READERS, {READ: template.READERS[READ]}, clear=True),
        mock.patch.object(registry, "chosen", return_value=Choice(Singly(), "")),
    ):
        return audit.measured("audit_hashlib")
