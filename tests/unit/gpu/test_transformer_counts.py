"""A decoder's operations, in closed form."""

from dataclasses import replace

from tests.gpu.workloads.counts import NOTHING, Counts, product
from tests.gpu.workloads.transformer_counts import (
    Attention,
    Sizes,
    Trained,
    decode,
    prefill,
    training_step,
)

SIZES = Sizes(layers=3, width=32, hidden=128, heads=4, vocabulary=64, batch=2, sequence=16, rank=4)
TOKENS = SIZES.batch * SIZES.sequence
WEIGHTS = SIZES.layers * (4 * 32 * 32 + 2 * 32 * 128) + 64 * 32
ATTENDED = SIZES.layers * 2 * (2 * SIZES.sequence**2 * SIZES.width * SIZES.batch)
"""Two products of a sequence squared and the width, forward, whole squares."""


def test_a_product_is_a_multiplication_and_an_addition_for_each_of_m_n_and_k() -> None:
    assert product(3, 5, 7) == 210
    assert product(3, 5, 7, batch=11) == 2310


def test_counts_add_up_by_precision() -> None:
    both = Counts.of("bf16", 10, 4) + Counts.of("fp8", 3) + Counts.of("bf16", 1).useless()
    assert both == Counts({"bf16": 11, "fp8": 3}, {"bf16": 4, "fp8": 3})
    assert both.times(2) == Counts({"bf16": 22, "fp8": 6}, {"bf16": 8, "fp8": 6})
    assert (both.total_executed, both.total_useful, NOTHING.total_executed) == (14, 7, 0)


def test_training_is_six_operations_a_weight_and_token_and_its_attention() -> None:
    step = training_step(SIZES)
    assert step.executed == {"bf16": 6 * WEIGHTS * TOKENS + 3 * ATTENDED}


def test_half_of_masked_attention_and_a_diagonal_is_of_use() -> None:
    step = training_step(SIZES)
    share = (SIZES.sequence + 1) / (2 * SIZES.sequence)
    assert step.useful == {"bf16": 6 * WEIGHTS * TOKENS + 3 * ATTENDED * share}


def test_recomputation_executes_each_block_forward_once_more_and_is_of_no_use() -> None:
    plain, again = training_step(SIZES), training_step(SIZES, recompute=True)
    forward = 2 * (WEIGHTS - 64 * 32) * TOKENS + ATTENDED
    assert again.total_executed - plain.total_executed == forward
    assert again.useful == plain.useful


def test_a_fused_kernel_computes_the_scores_again_on_its_way_back() -> None:
    fused = training_step(SIZES, attention=Attention.FUSED)
    assert fused.total_executed - training_step(SIZES).total_executed == ATTENDED // 2
    assert fused.total_executed - fused.total_useful == ATTENDED // 2


def test_frozen_weights_have_no_gradients_and_nothing_flows_back_below_the_first() -> None:
    step = training_step(SIZES, trained=Trained.ADAPTERS)
    base = 4 * WEIGHTS * TOKENS - 2 * TOKENS * 3 * 32 * 32
    adapters = sum(SIZES.rank * (out + into) for out, into in SIZES.linears.values())
    beside = 6 * SIZES.layers * adapters * TOKENS - 2 * TOKENS * SIZES.rank * 32
    assert step.total_executed == base + beside + 3 * ATTENDED


def test_padding_is_executed_and_of_no_use() -> None:
    whole, padded = training_step(SIZES), training_step(replace(SIZES, real=4))
    assert padded.executed == whole.executed
    assert padded.useful == training_step(replace(SIZES, sequence=4)).useful


def test_eight_bit_is_of_linear_layers_alone() -> None:
    step = training_step(SIZES, linear_precision="fp8")
    assert step.executed["fp8"] == 6 * (WEIGHTS - 64 * 32) * TOKENS
    assert step.executed["bf16"] == 6 * 64 * 32 * TOKENS + 3 * ATTENDED


def test_a_prompt_draws_one_token_and_each_token_after_it_attends_to_all_before() -> None:
    blocks = WEIGHTS - 64 * 32
    assert prefill(SIZES).total_executed == (
        2 * blocks * TOKENS + 2 * 64 * 32 * SIZES.batch + ATTENDED
    )
    each = 2 * 2 * SIZES.width * SIZES.batch * SIZES.layers
    assert decode(SIZES, 20).total_executed == 2 * WEIGHTS * SIZES.batch + 20 * each
    assert decode(SIZES, 20).total_useful == decode(SIZES, 20).total_executed
