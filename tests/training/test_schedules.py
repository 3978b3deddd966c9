"""Every schedule against torch's own, step by step."""

from __future__ import annotations

import warnings
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.recipe.schema import ScheduleSpec, TrainingSpec
from cifarlab.training.schedules import first_hard_step, image_size, lr_factor

STEPS_PER_EPOCH, TOTAL = 10, 100
SCHEDULERS = torch.optim.lr_scheduler


def ours(spec: ScheduleSpec) -> list[float]:
    return [lr_factor(spec, step, STEPS_PER_EPOCH, TOTAL) for step in range(TOTAL)]


def theirs(make) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the scheduler is moved on without an optimizer step
        for _ in range(TOTAL):
            factors.append(optimizer.param_groups[0]["lr"])
            if len(factors) < TOTAL:
                scheduler.step()
    return factors


@pytest.mark.parametrize(
    ("spec", "make"),
    [
        (ScheduleSpec(), lambda o: SCHEDULERS.ConstantLR(o, 1.0)),
        (ScheduleSpec(name="step", every="3 epochs", gamma=0.5), lambda o: SCHEDULERS.StepLR(o, 30, 0.5)),
        (
            ScheduleSpec(name="multistep", milestones=("20 steps", "5 epochs", "90 %")),
            lambda o: SCHEDULERS.MultiStepLR(o, [20, 50, 90]),
        ),
        (
            ScheduleSpec(name="cosine", final=0.1),
            lambda o: SCHEDULERS.CosineAnnealingLR(o, TOTAL, eta_min=0.1),
        ),
        (
            ScheduleSpec(name="linear", final=0.2),
            lambda o: SCHEDULERS.LinearLR(o, 1.0, 0.2, total_iters=TOTAL),
        ),
        (
            ScheduleSpec(name="one-cycle", start=0.04, final=0.0004, peak="30 %"),
            lambda o: SCHEDULERS.OneCycleLR(o, 1.0, TOTAL, pct_start=0.3, div_factor=25, final_div_factor=100),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, ScheduleSpec) else "",
)
def test_equals_torch(spec, make):
    assert ours(spec) == pytest.approx(theirs(make), abs=1e-6)


def test_warmup_rises_in_equal_parts_and_joins_the_shape():
    factors = ours(ScheduleSpec(name="cosine", warmup="1 epoch"))
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[10] == 1.0
    assert all(later <= earlier for earlier, later in pairwise(factors[10:]))


@given(
    name=st.sampled_from(["constant", "step", "multistep", "cosine", "one-cycle", "linear"]),
    warmup=st.integers(0, 100),
    total=st.integers(1, 300),
)
def test_factors_stay_within_0_and_1(name, warmup, total):
    spec = ScheduleSpec(name=name, warmup=f"{warmup} %", milestones=("50 %",))
    factors = [lr_factor(spec, step, 7, total) for step in range(total)]
    assert all(0 <= factor <= 1 for factor in factors)


def sizes(spec: TrainingSpec, full: int = 32, total: int = 100) -> list[int]:
    return [image_size(spec, full, step, 10, total) for step in range(total)]


def test_images_keep_their_size_unless_they_are_to_start_smaller():
    assert set(sizes(TrainingSpec())) == {32}
    assert set(sizes(TrainingSpec(start_size=32))) == {32}


def test_images_grow_in_equal_times_by_four_pixels_until_they_are_whole():
    found = sizes(TrainingSpec(start_size=16, full_size_from="60 %"))
    assert [(side, found.count(side)) for side in (16, 20, 24, 28, 32)] == [
        (16, 15),
        (20, 15),
        (24, 15),
        (28, 15),
        (32, 40),
    ]
    assert found == sorted(found)


@given(start=st.integers(8, 64), full=st.integers(8, 64), percent=st.integers(0, 100), total=st.integers(1, 200))
def test_sizes_never_shrink_and_stay_between_start_and_full(start, full, percent, total):
    found = sizes(TrainingSpec(start_size=start, full_size_from=f"{percent} %"), full, total)
    assert found == sorted(found)
    assert all(min(start, full) <= side <= full for side in found)
    if percent < 100:
        assert found[-1] == full or total * (100 - percent) < 100


@pytest.mark.parametrize(
    ("hard_from", "step"), [("0 steps", 10), ("1 step", 10), ("10 steps", 10), ("11 steps", 20), ("40 %", 40)], ids=str
)
def test_hard_images_are_first_chosen_at_the_start_of_an_epoch_but_not_of_the_first(hard_from, step):
    assert first_hard_step(TrainingSpec(hard_from=hard_from), steps_per_epoch=10, total_steps=100) == step
