"""A linear layer in FP8, both ways, through torch._scaled_mm. Imported once a job is prepared.

Operands are scaled by their largest element: activations and weights to e4m3, gradients to e5m2. Every size must be
divisible by 16.
"""

from typing import Any, Final

import torch

from tests.gpu.workloads.interface import UnavailableError

Tensor = Any

_FORWARD: Final = torch.float8_e4m3fn
_BACK: Final = torch.float8_e5m2
_LEAST_CAPABILITY: Final = (8, 9)


def require_fp8(device: str) -> None:
    """Raise UnavailableError where products of FP8 cannot be had."""
    if not hasattr(torch, "_scaled_mm"):
        raise UnavailableError(f"PyTorch {torch.__version__} has no _scaled_mm")
    if device.startswith("cuda"):
        capability = torch.cuda.get_device_capability(device)
        if capability < _LEAST_CAPABILITY:
            raise UnavailableError(f"FP8 needs compute capability 8.9; this is {capability}")


def to_fp8(x: Tensor, kind: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix in 8 bit, and what to multiply it with to have it back."""
    x = x.contiguous()  # the product wants rows
    scale = x.detach().abs().amax().float().clamp(min=1e-12) / torch.finfo(kind).max
    return (x.float() / scale).to(kind), scale


def product_fp8(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """Return a [m, k] times the transpose of b [n, k], both scaled, in 16 bit."""
    return torch._scaled_mm(a[0], b[0].t(), scale_a=a[1], scale_b=b[1], out_dtype=torch.bfloat16)


def _turned(x: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return x[0].t().contiguous(), x[1]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        return product_fp8(to_fp8(x, _FORWARD), to_fp8(weight, _FORWARD))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = context.saved_tensors
        gradient = to_fp8(gradients[0], _BACK)
        of_x = product_fp8(gradient, _turned(to_fp8(weight, _FORWARD)))
        of_weight = product_fp8(_turned(gradient), _turned(to_fp8(x, _FORWARD)))
        return of_x, of_weight


def linear_fp8(x: Tensor, weight: Tensor) -> Tensor:
    """Return x [tokens, in] times the transpose of weight [out, in]; its backward pass is in FP8 too."""
    return _Linear.apply(x, weight)
