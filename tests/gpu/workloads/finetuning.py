"""Training of a model that exists: all of its weights on a small padded batch, or adapters beside a frozen base."""

from dataclasses import replace
from typing import Final

from tests.gpu.workloads.training import PRETRAINING, Training
from tests.gpu.workloads.transformer_counts import Trained

_FULL: Final = {
    "tiny": replace(PRETRAINING["tiny"], real=24),
    "full": replace(PRETRAINING["full"], batch=4, real=768),
}
_LORA: Final = {
    "tiny": replace(PRETRAINING["tiny"], rank=8),
    "full": replace(PRETRAINING["full"], batch=8, rank=16),
}

WORKLOADS: Final = (
    Training("finetuning", "training of all weights on small batches, a quarter padding", _FULL),
    Training(
        "lora",
        "low-rank adapters beside a frozen base: no gradients of its weights",
        _LORA,
        trained=Trained.ADAPTERS,
    ),
)
