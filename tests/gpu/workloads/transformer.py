"""A decoder in plain PyTorch, every product of which transformer_counts.py counts. Imported once a job is prepared."""

import math
from typing import Any, Final

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from tests.gpu.workloads.eight_bit import linear_fp8
from tests.gpu.workloads.transformer_counts import Attention, Sizes, Trained

Tensor = Any  # PyTorch is no dependency of the project: its types are not known here

_DTYPE: Final = torch.bfloat16
_SCALE: Final = 0.02


def _weights(rows: int, columns: int, device: str, *, trained: bool) -> Tensor:
    made = torch.randn(rows, columns, device=device, dtype=_DTYPE) * _SCALE
    return made.requires_grad_(trained)


def _norm(x: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],))


class Transformer:
    """Weights of a decoder, and its passes. ``fp8`` puts its linear layers into 8 bit."""

    def __init__(
        self,
        sizes: Sizes,
        device: str,
        *,
        trained: Trained | None = None,
        attention: Attention = Attention.MASKED,
        fp8: bool = False,
    ) -> None:
        self.sizes = sizes
        self._attention = attention
        self._linear = linear_fp8 if fp8 else functional.linear
        every = trained is Trained.ALL
        self.embedding = _weights(sizes.vocabulary, sizes.width, device, trained=every)
        self.head = _weights(sizes.vocabulary, sizes.width, device, trained=every)
        self.blocks = [
            {
                name: _weights(out, into, device, trained=every)
                for name, (out, into) in sizes.linears.items()
            }
            for _ in range(sizes.layers)
        ]
        self.adapters: list[dict[str, tuple[Tensor, Tensor]]] = []
        if trained is Trained.ADAPTERS:
            self.adapters = [
                {
                    name: (
                        _weights(sizes.rank, into, device, trained=True),
                        _weights(out, sizes.rank, device, trained=True),
                    )
                    for name, (out, into) in sizes.linears.items()
                }
                for _ in range(sizes.layers)
            ]
        ones = torch.ones(sizes.sequence, sizes.sequence, device=device, dtype=torch.bool)
        self._future = ones.triu(1)

    def trained_weights(self) -> list[Tensor]:
        """Return what an optimiser steps."""
        held = [self.embedding, self.head]
        held += [weight for block in self.blocks for weight in block.values()]
        held += [weight for block in self.adapters for pair in block.values() for weight in pair]
        return [weight for weight in held if weight.requires_grad]

    def _apply(self, index: int, name: str, x: Tensor) -> Tensor:
        """Apply a linear layer to [tokens, features]."""
        y = self._linear(x, self.blocks[index][name])
        if self.adapters:
            down, up = self.adapters[index][name]
            y = y + functional.linear(functional.linear(x, down), up)
        return y

    def _heads(self, x: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Split [tokens, 3 x width] into query, key and value, [batch x heads, sequence, head width] each."""
        sizes = self.sizes
        split = x.view(batch, -1, 3, sizes.heads, sizes.head_width).permute(2, 0, 3, 1, 4)
        q, k, v = split.reshape(3, batch * sizes.heads, -1, sizes.head_width).unbind(0)
        return q, k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, future: Tensor | None) -> Tensor:
        scores = torch.bmm(q, k.transpose(1, 2)) * (1 / math.sqrt(self.sizes.head_width))
        if future is not None:
            scores = scores.masked_fill(future, float("-inf"))
        return torch.bmm(torch.softmax(scores, dim=-1), v)

    def _merge(self, x: Tensor, batch: int) -> Tensor:
        """Join heads again: [batch x heads, sequence, head width] to [tokens, width]."""
        split = x.view(batch, self.sizes.heads, -1, self.sizes.head_width)
        return split.transpose(1, 2).reshape(-1, self.sizes.width)

    def _block(self, x: Tensor, index: int, batch: int) -> Tensor:
        q, k, v = self._heads(self._apply(index, "qkv", _norm(x)), batch)
        if self._attention is Attention.FUSED:
            heads = (one.view(batch, self.sizes.heads, *one.shape[1:]) for one in (q, k, v))
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # others compute other products
                mixed = functional.scaled_dot_product_attention(*heads).reshape(q.shape)
        else:
            mixed = self._attend(q, k, v, self._future)
        x = x + self._apply(index, "out", self._merge(mixed, batch))
        return x + self._apply(index, "down", functional.silu(self._apply(index, "up", _norm(x))))

    def loss(self, tokens: Tensor, targets: Tensor, *, recompute: bool) -> Tensor:
        """Return the loss of [batch, sequence] tokens; targets of -100 are padding and count for nothing."""
        batch = tokens.shape[0]
        x = functional.embedding(tokens, self.embedding).view(-1, self.sizes.width)
        # Else the last product of a block would not be computed again, as nothing on the way back reads it.
        with set_checkpoint_early_stop(False):
            for index in range(self.sizes.layers):
                if recompute:
                    x = checkpoint(
                        self._block, x, index, batch, use_reentrant=False, preserve_rng_state=False
                    )
                else:
                    x = self._block(x, index, batch)
        logits = functional.linear(_norm(x), self.head)
        return functional.cross_entropy(logits.float(), targets.view(-1))

    def prefill(self, tokens: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """Read [batch, sequence] prompts into the caches; return the next token of each, [batch, 1]."""
        batch, length = tokens.shape
        x = functional.embedding(tokens, self.embedding).view(-1, self.sizes.width)
        for index in range(self.sizes.layers):
            q, k, v = self._heads(self._apply(index, "qkv", _norm(x)), batch)
            keys[index][:, :length], values[index][:, :length] = k, v
            mixed = self._attend(q, k, v, self._future[:length, :length])
            x = self._finish(x, mixed, index, batch)
        return self._draw(x.view(batch, length, -1)[:, -1])

    def decode(
        self, token: Tensor, keys: list[Tensor], values: list[Tensor], length: int
    ) -> Tensor:
        """Read one token of each sequence, [batch, 1], as number ``length`` of it; return the next, [batch, 1]."""
        batch = token.shape[0]
        x = functional.embedding(token, self.embedding).view(-1, self.sizes.width)
        for index in range(self.sizes.layers):
            q, k, v = self._heads(self._apply(index, "qkv", _norm(x)), batch)
            keys[index][:, length - 1 : length], values[index][:, length - 1 : length] = k, v
            mixed = self._attend(q, keys[index][:, :length], values[index][:, :length], None)
            x = self._finish(x, mixed, index, batch)
        return self._draw(x)

    def _finish(self, x: Tensor, mixed: Tensor, index: int, batch: int) -> Tensor:
        x = x + self._apply(index, "out", self._merge(mixed, batch))
        return x + self._apply(index, "down", functional.silu(self._apply(index, "up", _norm(x))))

    def _draw(self, x: Tensor) -> Tensor:
        """Return the likeliest token after each row, [rows, 1]."""
        return functional.linear(_norm(x), self.head).argmax(dim=-1, keepdim=True)
