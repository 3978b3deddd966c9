"""Optimizers against their update rules, and their state through a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cifarlab.recipe.schema import OptimizerSpec
from cifarlab.training.optim import build

CPU = torch.device("cpu")


def stepped(spec: OptimizerSpec, weight: float, gradients: list[float], weight_decay: float = 0.0) -> float:
    parameter = nn.Parameter(torch.tensor([weight], dtype=torch.float32))
    groups = [{"params": [parameter], "lr_factor": 1.0, "weight_decay": weight_decay}]
    optimizer = build.build(spec, groups, CPU)
    for gradient in gradients:
        build.set_lr(optimizer, spec.lr)
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
    return parameter.item()


def test_sgd_follows_its_rule():
    spec = OptimizerSpec(name="sgd", lr=0.1, momentum=0.5)
    # velocities 2 and 0.5 * 2 + 1 = 2
    assert stepped(spec, 1.0, [2.0, 1.0]) == pytest.approx(1 - 0.2 - 0.2)


def test_nesterov_looks_ahead():
    spec = OptimizerSpec(name="sgd", lr=0.1, momentum=0.5, nesterov=True)
    assert stepped(spec, 1.0, [2.0]) == pytest.approx(1 - 0.1 * (2 + 0.5 * 2))


def test_first_adam_step_has_the_size_of_the_rate():
    assert stepped(OptimizerSpec(name="adam", lr=0.1), 1.0, [7.0]) == pytest.approx(0.9, abs=1e-6)


def test_adamw_decays_the_weight_and_adam_the_gradient():
    # without a gradient Adam's decay still makes a full step; AdamW shrinks the weight by lr * decay
    assert stepped(OptimizerSpec(name="adamw", lr=0.1), 1.0, [0.0], weight_decay=0.5) == pytest.approx(0.95)
    assert stepped(OptimizerSpec(name="adam", lr=0.1), 1.0, [0.0], weight_decay=0.5) == pytest.approx(0.9, abs=1e-6)


def test_every_group_gets_its_share_of_the_rate():
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [p], "lr_factor": f, "weight_decay": 0.0} for p, f in zip(parameters, (1.0, 0.1), strict=True)]
    optimizer = build.build(OptimizerSpec(), groups, CPU)
    build.set_lr(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


def rates_and_decays(spec: OptimizerSpec) -> dict[int, tuple[float, float, bool]]:
    """By number of dimensions: learning rate, weight decay, and whether a parameter is treated as a filter."""
    parameters = [nn.Parameter(torch.zeros((2,) * ndim)) for ndim in (1, 2, 4)]
    optimizer = build.build(spec, [{"params": parameters, "lr_factor": 0.5, "weight_decay": 0.08}], CPU)
    build.set_lr(optimizer, spec.lr)
    return {
        parameter.ndim: (group["lr"], group["weight_decay"], group["is_filter"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_biases_have_a_rate_of_their_own_and_decay_as_strongly_as_before():
    found = rates_and_decays(OptimizerSpec(lr=0.1, bias_lr_factor=4))
    assert found == {
        1: (pytest.approx(0.2), pytest.approx(0.02), False),
        2: (0.05, 0.08, False),
        4: (0.05, 0.08, False),
    }


def test_muon_has_a_rate_for_filters_and_one_for_the_rest():
    found = rates_and_decays(OptimizerSpec(name="muon", lr=0.2, rest_lr=1.0, bias_lr_factor=4))
    assert found == {
        1: (pytest.approx(2.0), pytest.approx(0.02), False),
        2: (pytest.approx(0.5), 0.08, False),
        4: (pytest.approx(0.1), 0.0, True),
    }


def test_one_rate_for_all_stays_one_group():
    parameters = [nn.Parameter(torch.zeros((2,) * ndim)) for ndim in (1, 2, 4)]
    optimizer = build.build(OptimizerSpec(), [{"params": parameters, "lr_factor": 1.0, "weight_decay": 0.0}], CPU)
    assert [len(group["params"]) for group in optimizer.param_groups] == [3]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_state_continues_bit_for_bit_in_channels_last(name):
    def make():
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        groups = [{"params": list(model.parameters()), "lr_factor": 1.0, "weight_decay": 0.01}]
        return model, build.build(OptimizerSpec(name=name, lr=0.1), groups, CPU)

    def advance(model, optimizer, steps):
        for step in steps:
            images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            model(images).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    straight, optimizer = make()
    advance(straight, optimizer, range(4))
    first, optimizer = make()
    advance(first, optimizer, range(2))
    saved = {key: value.contiguous().clone() for key, value in build.state_tensors(optimizer).items()}
    second, optimizer = make()
    second.load_state_dict(first.state_dict())
    build.load_state_tensors(optimizer, saved)
    advance(second, optimizer, range(2, 4))
    assert torch.equal(straight.weight, second.weight)
    assert torch.equal(straight.bias, second.bias)
