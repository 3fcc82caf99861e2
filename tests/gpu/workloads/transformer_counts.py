"""The operations of a decoder, in closed form: each product of tests/gpu/workloads/transformer.py by its shape.

Arithmetic on elements (norms, softmax, activation, optimiser) is not counted: it is about one part in a hundred of the
products at most, at the full size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

from tests.gpu.workloads.counts import Counts, product


class Attention(Enum):
    """How attention is computed."""

    MASKED = "masked"
    """Two products over the whole square, the future masked afterwards: half of what they execute is of use."""
    FUSED = "fused"
    """PyTorch's fused kernel, without a mask: everything attends to everything. Its backward pass computes the
    scores again, so that it executes five products where four are of use."""


class Trained(Enum):
    """Which weights are trained."""

    ALL = "all"
    ADAPTERS = "adapters"
    """Low-rank adapters beside every linear layer. The base is frozen: no gradient of its weights is computed."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """A decoder and its batch. ``real`` is how many tokens of each sequence are no padding; 0 means all of them."""

    layers: int
    width: int
    hidden: int
    heads: int
    vocabulary: int
    batch: int
    sequence: int
    real: int = 0
    rank: int = 0

    @property
    def head_width(self) -> int:
        """Elements of one head's query, key or value."""
        return self.width // self.heads

    @property
    def real_tokens(self) -> int:
        """Tokens of a sequence that are no padding."""
        return self.real or self.sequence

    @property
    def linears(self) -> Mapping[str, tuple[int, int]]:
        """The linear layers of a block: features out and in."""
        return {
            "qkv": (3 * self.width, self.width),
            "out": (self.width, self.width),
            "up": (self.hidden, self.width),
            "down": (self.width, self.hidden),
        }

    def words(self) -> dict[str, str]:
        """Return the sizes as texts, for a log's header."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}


HEAD_PRECISION: Final = "bf16"
"""Attention and the last layer stay in 16 bit where linear layers are in 8."""


def _linears(
    sizes: Sizes, tokens: int, trained: Trained, *, recompute: bool, first: bool
) -> tuple[int, int]:
    """Return the operations of one block's linear layers in a training step: of the base, and of the adapters."""
    base = adapters = 0
    forwards = 2 if recompute else 1
    for name, (out, into) in sizes.linears.items():
        # The embedding is frozen with the base: then nothing flows back below the first layer of all.
        flows_back = trained is Trained.ALL or not (first and name == "qkv")
        one = product(tokens, out, into)
        base += one * (forwards + flows_back + (trained is Trained.ALL))
        if trained is Trained.ADAPTERS:
            down, up = product(tokens, sizes.rank, into), product(tokens, out, sizes.rank)
            adapters += forwards * (down + up) + 2 * up + down + down * flows_back
    return base, adapters


def training_step(
    sizes: Sizes,
    *,
    trained: Trained = Trained.ALL,
    recompute: bool = False,
    attention: Attention = Attention.MASKED,
    linear_precision: str = "bf16",
) -> Counts:
    """Return the operations of one step forward and back over the whole batch.

    ``recompute`` computes each block's forward pass again on the way back. Of use is what the model needs of real
    tokens: no recomputation, no padding, and of masked attention only what was not masked.
    """

    def executed(tokens: int, *, again: bool) -> tuple[int, int]:
        blocks = [
            _linears(sizes, tokens, trained, recompute=again, first=index == 0)
            for index in range(sizes.layers)
        ]
        return sum(base for base, _ in blocks), sum(adapters for _, adapters in blocks)

    def head(tokens: int) -> int:
        return product(tokens, sizes.vocabulary, sizes.width) * (2 + (trained is Trained.ALL))

    square = 2 * product(
        sizes.sequence, sizes.sequence, sizes.head_width, batch=sizes.batch * sizes.heads
    )
    back = square * 5 // 2 if attention is Attention.FUSED else square * 2
    attended = sizes.layers * (square * (2 if recompute else 1) + back)
    real = sizes.real_tokens
    needed = sizes.layers * 3 * _attended(sizes, real, attention)

    base, adapters = executed(sizes.batch * sizes.sequence, again=recompute)
    of_use, adapters_of_use = executed(sizes.batch * real, again=False)
    return Counts.of(linear_precision, base, of_use) + Counts.of(
        HEAD_PRECISION,
        adapters + attended + head(sizes.batch * sizes.sequence),
        adapters_of_use + needed + head(sizes.batch * real),
    )


def _attended(sizes: Sizes, tokens: int, attention: Attention) -> int:
    """Return what one block's attention needs forward: all pairs, or each token and those before it."""
    pairs = tokens * tokens if attention is Attention.FUSED else tokens * (tokens + 1) // 2
    return 2 * product(pairs, 1, sizes.head_width, batch=sizes.batch * sizes.heads)


def prefill(sizes: Sizes) -> Counts:
    """Return the operations of reading ``sequence`` tokens of every prompt and drawing one token after them."""
    tokens = sizes.batch * sizes.sequence
    linear = sizes.layers * sum(product(tokens, out, into) for out, into in sizes.linears.values())
    linear += product(sizes.batch, sizes.vocabulary, sizes.width)
    square = 2 * product(
        sizes.sequence, sizes.sequence, sizes.head_width, batch=sizes.batch * sizes.heads
    )
    needed = _attended(sizes, sizes.sequence, Attention.MASKED)
    return Counts.of("bf16", linear + sizes.layers * square, linear + sizes.layers * needed)


def decode(sizes: Sizes, length: int) -> Counts:
    """Return the operations of drawing one token of every sequence, when ``length`` are in the cache, itself too."""
    linear = sizes.layers * sum(
        product(sizes.batch, out, into) for out, into in sizes.linears.values()
    )
    linear += product(sizes.batch, sizes.vocabulary, sizes.width)
    attended = 2 * product(1, length, sizes.head_width, batch=sizes.batch * sizes.heads)
    return Counts.of("bf16", linear + sizes.layers * attended)
