"""What a bench returns, and the reference that most of them stand beside."""

import re
import subprocess
from typing import TypedDict


class Figure(TypedDict):
    """One row of ``build/bench.json``; ``ratio`` is value over reference_value unless the bench says otherwise.

    ``unit`` is a unit, then after a semicolon what a reader must know beside it: sizes, batches, backends.
    """

    name: str
    value: float
    unit: str
    reference: str
    reference_value: float
    ratio: float
    required: float
    reach: float
    met: bool


def openssl_verifies_a_second(processes: int, seconds: int = 2) -> float:
    """Return what ``openssl speed ecdsap256`` reports: P-256 verifications a second over that many processes."""
    command = ["openssl", "speed", "-seconds", str(seconds), "-multi", str(processes), "ecdsap256"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"ecdsa \(nistp256\)\s+\S+\s+\S+\s+\S+\s+([\d.]+)", printed)
    if found is None:
        raise RuntimeError(f"cannot read what openssl speed printed: {printed!r}")
    return float(found[1])
