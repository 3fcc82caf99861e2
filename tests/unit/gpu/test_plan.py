"""What a campaign records, and what that takes."""

import pytest

from tests.gpu.pack import MOST_BYTES, MOST_FILES
from tests.gpu.plan import FIXED_S, LEAST_S, START_S, PlanError, plan, table
from tests.gpu.workloads.registry import WORKLOADS, UnknownWorkloadError


def test_a_campaign_records_every_workload_within_its_budget() -> None:
    whole = plan(budget_s=540)
    assert sorted(run.name for run in whole.runs) == sorted(WORKLOADS)
    assert not whole.dropped
    assert whole.wall_s == pytest.approx(FIXED_S + sum(run.seconds + START_S for run in whole.runs))
    assert 500 < whole.wall_s <= 540
    assert all(run.seconds >= LEAST_S for run in whole.runs)


def test_a_campaign_fits_into_what_may_be_carried_away() -> None:
    most_bytes = plan(budget_s=540).most_bytes
    assert most_bytes < (MOST_FILES - 1) * MOST_BYTES / 8
    assert f"{most_bytes / (1 << 20):.1f}" == "2.3"  # docs/results/recordings.md says so


@pytest.mark.parametrize("budget_s", [100, 120, 200, 300, 400, 900, 5_000])
def test_no_budget_is_exceeded_and_what_is_left_out_is_named(budget_s: float) -> None:
    found = plan(budget_s=budget_s)
    assert found.wall_s <= budget_s
    assert [run.name for run in found.runs] + list(found.dropped) == [
        run.name for run in plan(budget_s=10_000).runs
    ]
    assert all(run.seconds >= LEAST_S for run in found.runs)


def test_more_time_than_is_wanted_is_not_used() -> None:
    assert plan(budget_s=5_000).runs == plan(budget_s=50_000).runs


def test_the_least_wanted_are_left_out_first() -> None:
    few = plan(budget_s=200)
    assert few.runs[0].name == "product-bf16"
    assert few.dropped[-1] == "product-bf16-thin"


def test_some_can_be_asked_for_alone_for_a_time_of_ones_own() -> None:
    found = plan(["idle", "training", "idle"], budget_s=540, size="tiny", seconds=2)
    assert [(run.name, run.size, run.seconds) for run in found.runs] == [
        ("idle", "tiny", 2),
        ("training", "tiny", 2),
    ]


def test_disguises_are_labelled_with_what_they_disguise_and_nothing_is_set_on_the_chip() -> None:
    labels = {run.name: run.labels for run in plan(budget_s=540).runs}
    assert labels["throttled"]["disguises"] == "training"
    assert "disguises" not in labels["training"]
    assert {one["clocks"] + one["power"] for one in labels.values()} == {"as foundas found"}


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(UnknownWorkloadError):
        plan(["mining"], budget_s=540)
    with pytest.raises(PlanError, match="too short"):
        plan(budget_s=FIXED_S + START_S)


def test_the_plan_is_printed_with_its_time_and_bytes() -> None:
    few = plan(budget_s=200)
    lines = list(table(few))
    assert all(any(line.startswith(run.name) for line in lines) for run in few.runs)
    assert all(name in lines[-2] for name in few.dropped)
    assert f"{few.wall_s:.0f} s of 200 s" in lines[-1]
    assert "MiB a chip" in lines[-1]
