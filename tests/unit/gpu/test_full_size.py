"""The sizes that are meant for a GPU, on a machine without one: on tensors that have shapes and no elements."""

from typing import Any

import pytest

from tests.gpu.workloads.inference import Inference
from tests.gpu.workloads.registry import WORKLOADS
from tests.gpu.workloads.training import Training
from tests.gpu.workloads.transformer_counts import Attention

torch = pytest.importorskip("torch", reason="PyTorch is not installed; no other test needs it")

UNSEEN = {"product-int8", "product-int8-zeros", "memory-bound"}
"""What PyTorch's counter has no formula for; tests/unit/gpu/test_counting.py says why."""
BOARD_BYTES = 80e9
SPARE_BYTES = 16e9
"""For what lives only for a moment: gradients on their way, copies in another precision, CUDA itself."""


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_full_size_executes_what_it_says(name: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    workload = WORKLOADS[name]
    job: Any = workload.prepare("meta", "full")
    for _ in range(2):
        with FlopCounterMode(display=False) as counter:
            executed = job.step().counts.total_executed
        seen = int(counter.get_total_flops())
        if isinstance(workload, Training) and workload.attention is Attention.FUSED:
            # Without a device there is no fused kernel: the scores are kept, and not computed again.
            full = workload.sizes["full"]
            seen += full.layers * 2 * full.batch * full.sequence**2 * full.width
        assert seen == (0 if name in UNSEEN else executed)


def bytes_of(tensors: list[Any]) -> int:
    """Return what tensors hold, each storage counted once."""
    held = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in tensors}
    return sum(held.values())


@pytest.mark.parametrize(
    "name", [name for name, one in WORKLOADS.items() if isinstance(one, Training)]
)
def test_training_at_full_size_fits_onto_a_board(name: str) -> None:
    saved: list[Any] = []

    def keep(tensor: Any) -> Any:
        saved.append(tensor)
        return tensor

    job: Any = WORKLOADS[name].prepare("meta", "full")
    job.step()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        job.model.loss(job.tokens, job.targets, recompute=job.recompute)
    weights = job.model.trained_weights()
    frozen = [weight for block in job.model.blocks for weight in block.values()]
    moments = [
        value
        for state in job.optimiser.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    ]
    held = bytes_of([*saved, *weights, *frozen, *moments]) + bytes_of(weights)
    assert 4e9 < held < BOARD_BYTES - SPARE_BYTES


@pytest.mark.parametrize(
    "name", [name for name, one in WORKLOADS.items() if isinstance(one, Inference)]
)
def test_inference_at_full_size_fits_onto_half_a_board(name: str) -> None:
    job: Any = WORKLOADS[name].prepare("meta", "full")
    weights = [weight for block in job._model.blocks for weight in block.values()]
    held = bytes_of([*weights, job._model.embedding, job._model.head, *job._keys, *job._values])
    assert 6e9 < held < BOARD_BYTES / 2


def test_products_in_eight_bit_get_their_operands_as_the_chip_wants_them() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from tests.gpu.workloads import eight_bit

    class Context:
        saved_tensors: tuple[Any, ...] = ()

        def save_for_backward(self, *tensors: Any) -> None:
            self.saved_tensors = tensors

    def matrix(rows: int, columns: int) -> Any:
        return torch.randn(rows, columns, device="cuda:0", dtype=torch.bfloat16)

    with FakeTensorMode():
        context = Context()
        y = eight_bit._Linear.forward(context, matrix(64, 32), matrix(96, 32))
        assert (tuple(y.shape), y.device.type) == ((64, 96), "cuda")
        for gradient in (matrix(64, 96), matrix(96, 64).t(), matrix(1, 1).expand(64, 96)):
            of_x, of_weight = eight_bit._Linear.backward(context, gradient)
            assert (tuple(of_x.shape), tuple(of_weight.shape)) == ((64, 32), (96, 32))


def test_operands_the_other_way_round_would_be_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from tests.gpu.workloads.eight_bit import product_fp8

    with FakeTensorMode():
        one = torch.ones((), device="cuda:0")
        a, b = (torch.zeros(32, 32, device="cuda:0").to(torch.float8_e4m3fn) for _ in range(2))
        product_fp8((a, one), (b, one))
        with pytest.raises(RuntimeError, match="major"):
            product_fp8((a, one), (b.t(), one))
