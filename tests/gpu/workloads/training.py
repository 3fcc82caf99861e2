"""Training of a decoder with AdamW: plain, with recomputation, with a fused attention kernel, with FP8."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.gpu.workloads.counts import Counts
from tests.gpu.workloads.interface import Job, Step
from tests.gpu.workloads.transformer_counts import Attention, Sizes, Trained, training_step

PRETRAINING: Final = {
    "tiny": Sizes(layers=2, width=64, hidden=128, heads=4, vocabulary=96, batch=2, sequence=32),
    "full": Sizes(
        layers=8, width=4096, hidden=16384, heads=32, vocabulary=32000, batch=16, sequence=1024
    ),
}
_PADDING: Final = -100
_RATE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class _Loop:
    shape: Mapping[str, str]
    counts: Counts
    model: Any
    optimiser: Any
    tokens: Any
    targets: Any
    recompute: bool

    def step(self) -> Step:
        self.model.loss(self.tokens, self.targets, recompute=self.recompute).backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return Step(self.counts)


@dataclass(frozen=True, slots=True)
class Training:
    """A training loop over one batch of random tokens."""

    name: str
    does: str
    sizes: Mapping[str, Sizes]
    trained: Trained = Trained.ALL
    recompute: bool = False
    attention: Attention = Attention.MASKED
    fp8: bool = False
    beside: tuple[str, ...] = ()
    disguises: str = ""

    def counts(self, size: str) -> Counts:
        """Return what one step executes."""
        return training_step(
            self.sizes[size],
            trained=self.trained,
            recompute=self.recompute,
            attention=self.attention,
            linear_precision="fp8" if self.fp8 else "bf16",
        )

    def prepare(self, device: str, size: str) -> Job:
        """Make model, optimiser and batch."""
        import torch

        from tests.gpu.workloads.eight_bit import require_fp8
        from tests.gpu.workloads.transformer import Transformer

        if self.fp8:
            require_fp8(device)
        torch.manual_seed(0)
        sizes = self.sizes[size]
        model = Transformer(
            sizes, device, trained=self.trained, attention=self.attention, fp8=self.fp8
        )
        optimiser = torch.optim.AdamW(
            model.trained_weights(), lr=_RATE, fused=device.startswith("cuda")
        )
        tokens = torch.randint(sizes.vocabulary, (sizes.batch, sizes.sequence), device=device)
        targets = tokens.roll(-1, dims=1)
        targets[:, sizes.real_tokens :] = _PADDING
        words = {
            **sizes.words(),
            "trained": self.trained.value,
            "recompute": str(self.recompute).lower(),
            "attention": self.attention.value,
            "linear": "fp8" if self.fp8 else "bf16",
        }
        counts = self.counts(size)
        return _Loop(words, counts, model, optimiser, tokens, targets, self.recompute)


WORKLOADS: Final = (
    Training("training", "training of a decoder in bf16", PRETRAINING),
    Training(
        "training-recompute",
        "the same, activations computed again on the way back",
        PRETRAINING,
        recompute=True,
    ),
    Training(
        "training-fused",
        "the same with a fused attention kernel, without a mask",
        PRETRAINING,
        attention=Attention.FUSED,
    ),
    Training("training-fp8", "the same with linear layers in FP8", PRETRAINING, fp8=True),
)
