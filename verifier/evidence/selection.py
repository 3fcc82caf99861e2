"""Some of the windows of a set of columns, in the same order."""

import numpy as np

from verifier.accounts.columns import Windows
from verifier.evidence.records import Bools


def select(windows: Windows, keep: Bools) -> Windows:
    """Return the node windows for which ``keep`` holds, [windows], with their chips."""
    if bool(keep.all()):
        return windows
    return windows.take(np.flatnonzero(keep).astype(np.int64), windows.first_chip_rows())
