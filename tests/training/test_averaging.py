"""The moving average against its closed form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cifarlab.recipe.schema import AveragingSpec
from cifarlab.training.averaging import Average


def values_after(spec: AveragingSpec, start: int, weights: list[float]) -> list[float]:
    model = nn.BatchNorm1d(1)
    model.running_mean.fill_(1.0)  # as the scale begins, so that both follow one recurrence
    average = Average(model, spec, start)
    seen = []
    for step, weight in enumerate(weights, 1):
        with torch.no_grad():
            model.weight.fill_(weight)
            model.running_mean.fill_(weight)
        model.num_batches_tracked.fill_(step)
        average.update(model, step)
        seen.append((average.model.weight.item(), average.model.running_mean.item()))
        last_update = step // spec.every * spec.every
        assert average.model.num_batches_tracked.item() == (last_update if last_update > start else step)
    assert all(parameter == pytest.approx(buffer) for parameter, buffer in seen)
    return [parameter for parameter, _ in seen]


def test_n32_is_the_weighted_mean_of_the_weights_so_far():
    """Shares 1; 1, 2 thirds; 1, 2, 4 sevenths: the scale that batch norm begins with, 1, has no part in it."""
    spec = AveragingSpec(name="ema", decay=0.5)
    assert values_after(spec, 0, [2.0, 5.0, 11.0]) == pytest.approx([2.0, 4.0, (2 + 10 + 44) / 7])


def test_equals_the_weights_until_start_and_begins_there():
    spec = AveragingSpec(name="ema", decay=0.5)
    assert values_after(spec, 2, [2.0, 4.0, 8.0, 5.0]) == pytest.approx([2.0, 4.0, 8.0, 6.0])


def test_updates_every_so_many_steps():
    spec = AveragingSpec(name="ema", decay=0.5, every=2)
    assert values_after(spec, 0, [2.0, 3.0, 4.0, 6.0]) == pytest.approx([2.0, 3.0, 3.0, 5.0])


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30),
    st.floats(0.01, 0.999),
    st.integers(1, 4),
    st.integers(0, 20),
)
def test_n32_the_average_begins_as_the_weights_and_stays_among_them(weights, decay, every, start):
    spec = AveragingSpec(name="ema", decay=decay, every=every)
    seen = values_after(spec, start, weights)
    for step, value in enumerate(seen, 1):
        averaged = [weight for number, weight in enumerate(weights[:step], 1) if number % every == 0 and number > start]
        if len(averaged) < 2:
            assert value == (averaged or [weights[step - 1]])[0]
        assert min(averaged, default=value) - 1e-4 <= value <= max(averaged, default=value) + 1e-4


@given(st.floats(-10, 10, width=32), st.floats(0.01, 0.999), st.integers(0, 20))
def test_n32_a_constant_stays_what_it_is(weight, decay, start):
    spec = AveragingSpec(name="ema", decay=decay)
    assert values_after(spec, start, [weight] * 25) == pytest.approx([weight] * 25, rel=1e-5)


def test_n32_after_many_updates_a_new_weight_counts_as_the_decay_says():
    spec = AveragingSpec(name="ema", decay=0.9)
    assert values_after(spec, 0, [0.0] * 300 + [1.0])[-1] == pytest.approx(0.1)


def test_is_a_copy_that_learns_nothing_by_gradient():
    model = nn.Linear(2, 2)
    average = Average(model, AveragingSpec(name="ema"), 0)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
