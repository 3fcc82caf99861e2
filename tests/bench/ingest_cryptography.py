"""``ingest_cryptography``: as ``ingest``, with signatures verified one by one, as is possible on every machine."""

import os
from unittest import mock

from statements.verification.registry import SETTING
from tests.bench import ingest
from tests.bench.figure import Figure


def measure() -> Figure:
    """Return the figure; the same bar."""
    with mock.patch.dict(os.environ, {SETTING: "cryptography"}):
        return ingest.measured("ingest_cryptography", bodies=False, windows=ingest.WINDOWS_A_ROUND)
