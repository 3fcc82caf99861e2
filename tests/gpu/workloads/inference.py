"""Answers of a decoder from a cache of keys and values: mostly reading, mostly writing, in bulk, or with pauses."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.gpu.workloads.interface import Job, Step
from tests.gpu.workloads.transformer_counts import Sizes, decode, prefill

_MODEL: Final = {
    "tiny": Sizes(layers=2, width=64, hidden=128, heads=4, vocabulary=96, batch=2, sequence=16),
    "full": Sizes(
        layers=16, width=4096, hidden=16384, heads=32, vocabulary=32000, batch=64, sequence=512
    ),
}


class _Answers:
    """Reads prompts and writes answers, one kernel sequence a step: a prompt, or one token of every answer."""

    def __init__(
        self, sizes: Sizes, device: str, new_tokens: int, pauses: Iterator[float] | None
    ) -> None:
        import torch

        from tests.gpu.workloads.transformer import Transformer

        torch.manual_seed(0)
        self._sizes = sizes
        self._pauses = pauses
        self._room = sizes.sequence + new_tokens
        self._model = Transformer(sizes, device)
        self._prompts = torch.randint(
            sizes.vocabulary, (sizes.batch, sizes.sequence), device=device
        )
        room = (sizes.batch * sizes.heads, self._room, sizes.head_width)
        self._keys, self._values = (
            [torch.zeros(room, device=device, dtype=torch.bfloat16) for _ in range(sizes.layers)]
            for _ in range(2)
        )
        self._length = self._room
        self._token: Any = None
        self.shape: Mapping[str, str] = {**sizes.words(), "new_tokens": str(new_tokens)}

    def step(self) -> Step:
        import torch

        with torch.inference_mode():
            if self._length == self._room:
                self._token = self._model.prefill(self._prompts, self._keys, self._values)
                self._length = self._sizes.sequence
                return Step(prefill(self._sizes))
            self._length += 1
            self._token = self._model.decode(self._token, self._keys, self._values, self._length)
        done = self._length == self._room
        pause_s = next(self._pauses) if done and self._pauses else 0.0
        return Step(decode(self._sizes, self._length), pause_s)


@dataclass(frozen=True, slots=True)
class Inference:
    """Prompts of ``prompt`` tokens, answers of ``new_tokens``; ``think_s`` the mean pause after one. By size."""

    name: str
    does: str
    prompt: Mapping[str, int]
    new_tokens: Mapping[str, int]
    batch: Mapping[str, int]
    think_s: Mapping[str, float] | None = None
    beside: tuple[str, ...] = ()
    disguises: str = ""

    def prepare(self, device: str, size: str) -> Job:
        """Load the model and make room for the caches."""
        sizes = replace(_MODEL[size], sequence=self.prompt[size], batch=self.batch[size])
        pauses = None
        if self.think_s is not None:
            pauses = _exponential(1 / self.think_s[size])
        return _Answers(sizes, device, self.new_tokens[size], pauses)


def _exponential(rate: float) -> Iterator[float]:
    draw = random.Random(0)
    while True:
        yield draw.expovariate(rate)


def load_model(device: str, size: str) -> Any:
    """Load the model alone, as one that waits for requests."""
    from tests.gpu.workloads.transformer import Transformer

    return Transformer(_MODEL[size], device)


DECODE: Final = Inference(
    "decode",
    "long answers to short prompts",
    prompt={"tiny": 4, "full": 128},
    new_tokens={"tiny": 12, "full": 896},
    batch={"tiny": 2, "full": 64},
)
WORKLOADS: Final = (
    Inference(
        "prefill",
        "long prompts, answers of a few tokens",
        prompt={"tiny": 16, "full": 2048},
        new_tokens={"tiny": 2, "full": 8},
        batch={"tiny": 2, "full": 8},
    ),
    DECODE,
    Inference(
        "batch",
        "prompts and answers of like length, one batch after another",
        prompt={"tiny": 8, "full": 256},
        new_tokens={"tiny": 8, "full": 256},
        batch={"tiny": 2, "full": 128},
    ),
    Inference(
        "interactive",
        "a few users who think between answers",
        prompt={"tiny": 8, "full": 512},
        new_tokens={"tiny": 4, "full": 64},
        batch={"tiny": 1, "full": 4},
        think_s={"tiny": 0.005, "full": 0.5},
    ),
)
