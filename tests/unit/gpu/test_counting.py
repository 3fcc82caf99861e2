"""What workloads say that they executed, beside what PyTorch's own counter saw of each step."""

from typing import Any

import pytest

from tests.gpu.workloads.interface import Step
from tests.gpu.workloads.registry import WORKLOADS
from tests.gpu.workloads.training import PRETRAINING

torch = pytest.importorskip("torch", reason="PyTorch is not installed; no other test needs it")

UNSEEN = {
    # PyTorch's counter has no formula for _int_mm.
    "product-int8": 1.0,
    "product-int8-zeros": 1.0,
    # It counts products, and these kernels have none: an element is multiplied, and added.
    "memory-bound": 1.0,
}
"""The share of a workload's operations that the counter does not see, and why. All others are seen whole."""
STEPS = 3


def counted(job: Any) -> tuple[Step, int]:
    """Take a step, and count it as PyTorch does."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step = job.step()
    return step, int(counter.get_total_flops())


def fused_is_counted() -> bool:
    """Return whether the counter knows the CPU's fused kernel: that of PyTorch 2.15 does, that of 2.11 does not."""
    from torch.utils.flop_counter import flop_registry

    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu in flop_registry


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_executes_what_it_says(name: str) -> None:
    job = WORKLOADS[name].prepare("cpu", "tiny")
    for _ in range(STEPS):
        step, seen = counted(job)
        executed = step.counts.total_executed
        if name == "training-fused" and not fused_is_counted():
            tiny = PRETRAINING["tiny"]
            square = 2 * tiny.batch * tiny.sequence**2 * tiny.width
            seen += tiny.layers * (2 + 5) * square
        assert seen == executed * (1 - UNSEEN.get(name, 0.0))
        assert all(
            0 <= useful <= step.counts.executed[precision]
            for precision, useful in step.counts.useful.items()
        )
        assert (executed > 0) == (name != "idle")


def test_what_the_counter_misses_of_int8_is_the_product_itself() -> None:
    from torch.utils.flop_counter import flop_registry

    assert torch.ops.aten._int_mm not in flop_registry
    job: Any = WORKLOADS["product-int8"].prepare("cpu", "tiny")
    n = int(job.shape["n"])
    found = job.multiply()
    assert (tuple(found.shape), found.dtype) == ((n, n), torch.int32)
    assert job.step().counts.executed == {"int8": 2 * n**3 * int(job.shape["repeats"])}


def test_a_decoder_learns_what_it_is_trained_on() -> None:
    job: Any = WORKLOADS["training"].prepare("cpu", "tiny")

    def loss() -> float:
        with torch.no_grad():
            return float(job.model.loss(job.tokens, job.targets, recompute=False))

    before = loss()
    for _ in range(5):
        job.step()
    assert loss() < before


def test_recomputation_and_fused_kernels_compute_the_same_gradients() -> None:
    from dataclasses import replace

    from tests.gpu.workloads.training import Training

    plain = WORKLOADS["training"]
    assert isinstance(plain, Training)

    def gradient(workload: Training, *, recompute: bool) -> Any:
        job: Any = workload.prepare("cpu", "tiny")
        job.model.loss(job.tokens, job.targets, recompute=recompute).backward()
        return job.model.blocks[0]["qkv"].grad.float()

    first = gradient(plain, recompute=False)
    assert torch.equal(first, gradient(plain, recompute=True))
    eight = gradient(replace(plain, fp8=True), recompute=False)
    assert 0.8 < float(torch.cosine_similarity(first.flatten(), eight.flatten(), dim=0)) < 1


def test_adapters_alone_are_trained_where_the_base_is_frozen() -> None:
    job: Any = WORKLOADS["lora"].prepare("cpu", "tiny")
    job.model.loss(job.tokens, job.targets, recompute=False).backward()
    assert all(weight.grad is None for weight in job.model.blocks[0].values())
    assert job.model.embedding.grad is None
    assert all(
        weight.grad is not None
        for block in job.model.adapters
        for pair in block.values()
        for weight in pair
    )


def test_an_answer_from_the_cache_is_the_one_without_it() -> None:
    from tests.gpu.workloads.transformer import Transformer
    from tests.gpu.workloads.transformer_counts import Sizes

    torch.manual_seed(0)
    sizes = Sizes(layers=2, width=64, hidden=128, heads=4, vocabulary=96, batch=3, sequence=12)
    model: Any = Transformer(sizes, "cpu")
    tokens = torch.randint(96, (3, 12))

    def caches() -> tuple[list[Any], list[Any]]:
        made = [[torch.zeros(12, 12, 16, dtype=torch.bfloat16) for _ in range(2)] for _ in range(2)]
        return made[0], made[1]

    with torch.inference_mode():
        whole = model.prefill(tokens, *caches())
        keys, values = caches()
        model.prefill(tokens[:, :11], keys, values)
        step_by_step = model.decode(tokens[:, 11:], keys, values, 12)
    assert torch.equal(whole, step_by_step)
