"""Training in which most of every sequence is padding: many operations, few of use."""

from dataclasses import replace
from typing import Final

from tests.gpu.workloads.training import PRETRAINING, Training

WORKLOADS: Final = (
    Training(
        "padded",
        "training on sequences of which three quarters are padding",
        {
            "tiny": replace(PRETRAINING["tiny"], real=8),
            "full": replace(PRETRAINING["full"], real=256),
        },
        disguises="training",
    ),
)
