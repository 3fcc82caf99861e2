"""Plain products of square matrices, one precision each; zeros and thin ones sweep power without touching the chip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.gpu.workloads.counts import Counts, product
from tests.gpu.workloads.interface import Job, Step, UnavailableError

_EDGE: Final = {"tiny": 64, "full": 8192}
_THIN: Final = {"tiny": 32, "full": 128}
_REPEATS: Final = {"tiny": 2, "full": 8}
"""Products in one step: the chip waits for its next step less often."""


@dataclass(frozen=True, slots=True)
class _Products:
    shape: Mapping[str, str]
    counts: Counts
    repeats: int
    multiply: Callable[[], object]

    def step(self) -> Step:
        for _ in range(self.repeats):
            self.multiply()
        return Step(self.counts)


@dataclass(frozen=True, slots=True)
class Product:
    """Products of n x n matrices, or of m x n with n x n ones where ``thin``; operands are random, or zeros."""

    name: str
    does: str
    precision: str
    zeros: bool = False
    thin: bool = False
    beside: tuple[str, ...] = ()
    disguises: str = ""

    def prepare(self, device: str, size: str) -> Job:
        """Make the operands."""
        n = _EDGE[size]
        m, repeats = (_THIN[size], _REPEATS[size] * 16) if self.thin else (n, _REPEATS[size])
        # A CPU has no TF32: its products are of FP32, whatever was asked for.
        precision = "fp32" if self.precision == "tf32" and device == "cpu" else self.precision
        shape = {"m": m, "n": n, "k": n, "repeats": repeats}
        words = {name: str(value) for name, value in shape.items()}
        words["operands"] = "zeros" if self.zeros else "random"
        counts = Counts.of(precision, product(m, n, n)).times(repeats)
        multiply = _MULTIPLIERS[self.precision](m, n, device, self.zeros)
        return _Products(words, counts, repeats, multiply)


def _operands(m: int, n: int, device: str, kind: Any, zeros: bool) -> tuple[Any, Any]:
    import torch

    make = torch.zeros if zeros else torch.randn
    return make(m, n, device=device).to(kind), make(n, n, device=device).to(kind)


def _floats(kind: str, matmul_precision: str) -> Callable[..., Callable[[], object]]:
    def prepare(m: int, n: int, device: str, zeros: bool) -> Callable[[], object]:
        import torch

        torch.set_float32_matmul_precision(matmul_precision)
        a, b = _operands(m, n, device, getattr(torch, kind), zeros)
        out = torch.empty(m, n, device=device, dtype=a.dtype)
        return lambda: torch.mm(a, b, out=out)

    return prepare


def _fp8(m: int, n: int, device: str, zeros: bool) -> Callable[[], object]:
    import torch

    from tests.gpu.workloads.eight_bit import product_fp8, require_fp8

    require_fp8(device)
    a, b = _operands(m, n, device, torch.float8_e4m3fn, zeros)
    one = torch.ones((), device=device)
    return lambda: product_fp8((a, one), (b, one))


def _int8(m: int, n: int, device: str, zeros: bool) -> Callable[[], object]:
    import torch

    if not hasattr(torch, "_int_mm"):
        raise UnavailableError(f"PyTorch {torch.__version__} has no _int_mm")
    most = 1 if zeros else 128
    a = torch.randint(-most + 1, most, (m, n), device=device, dtype=torch.int8)
    b = torch.randint(-most + 1, most, (n, n), device=device, dtype=torch.int8)
    return lambda: torch._int_mm(a, b.t())


_MULTIPLIERS: Final[Mapping[str, Callable[..., Callable[[], object]]]] = {
    "fp32": _floats("float32", "highest"),
    "tf32": _floats("float32", "high"),
    "bf16": _floats("bfloat16", "highest"),
    "fp8": _fp8,
    "int8": _int8,
}

WORKLOADS: Final = (
    *(
        Product(f"product-{precision}", f"products of square {precision} matrices", precision)
        for precision in _MULTIPLIERS
    ),
    *(
        Product(
            f"product-{precision}-zeros",
            f"the same of zeros in {precision}: as many operations, and no bit changes",
            precision,
            zeros=True,
        )
        for precision in ("bf16", "fp8", "int8")
    ),
    Product("product-bf16-thin", "thin bf16 products, which wait for memory", "bf16", thin=True),
)
