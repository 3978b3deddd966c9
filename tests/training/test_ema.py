"""The moving average against its closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cifarlab.recipe import AveragingSpec
from cifarlab.training.ema import Average


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
        assert average.model.num_batches_tracked.item() == (step if step % spec.every == 0 else step - 1)
    assert all(parameter == pytest.approx(buffer) for parameter, buffer in seen)
    return [parameter for parameter, _ in seen]


def test_follows_the_recurrence():
    spec = AveragingSpec(name="ema", decay=0.9)
    assert values_after(spec, 1, [2.0, 3.0, 5.0]) == pytest.approx([2.0, 2.1, 2.39])


def test_equals_the_weights_until_start():
    spec = AveragingSpec(name="ema", decay=0.5)
    assert values_after(spec, 2, [2.0, 4.0, 8.0]) == pytest.approx([2.0, 4.0, 6.0])


def test_updates_every_so_many_steps():
    spec = AveragingSpec(name="ema", decay=0.5, every=2)
    assert values_after(spec, 0, [2.0, 3.0]) == pytest.approx([1.0, 2.0])  # batch norm's scale begins at 1


def test_is_a_copy_that_learns_nothing_by_gradient():
    model = nn.Linear(2, 2)
    average = Average(model, AveragingSpec(name="ema"), 0)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
