"""``audit_hashlib``: as ``audit``, with rows hashed and signatures verified in the ways that are always there."""

from unittest import mock

from statements.verification import registry
from statements.verification.registry import Choice
from statements.verification.singly import Singly
from tests.bench import audit
from tests.bench.figure import Figure
from verifier.rows import hashing

ALWAYS = "hashlib"


def measure() -> Figure:
    """Return the figure; the same bar."""
    with (
        mock.patch.dict(hashing.BACKENDS, {ALWAYS: hashing.BACKENDS[ALWAYS]}, clear=True),
        mock.patch.object(registry, "chosen", return_value=Choice(Singly(), "")),
    ):
        return audit.measured("audit_hashlib")
