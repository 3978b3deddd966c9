"""The fused optimizers on views against torch's own on the tensors themselves."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from cifarlab.training.optim.stored_order import SGD, Adam, AdamW, in_stored_order


def a_model() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def advance(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for step in range(3):
        images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        torch.autograd.backward(model(images).square().mean())
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
        (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (SGD, torch.optim.SGD, {}),
        (Adam, torch.optim.Adam, {}),
        (AdamW, torch.optim.AdamW, {"weight_decay": 0.01}),
    ],
)
def test_the_same_bits_come_out(
    ours: type[torch.optim.Optimizer], theirs: type[torch.optim.Optimizer], settings: dict[str, float]
) -> None:
    model = a_model()
    other = copy.deepcopy(model)
    mine, its = (
        ours(model.parameters(), lr=0.1, fused=True, **settings),
        theirs(other.parameters(), lr=0.1, fused=True, **settings),
    )
    advance(model, mine)
    advance(other, its)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    states = mine.state_dict()["state"], its.state_dict()["state"]
    for number, values in states[1].items():
        for name, value in values.items():
            assert value is None or torch.equal(states[0][number][name], value)
    assert set(mine.state) <= set(model.parameters())  # and not the views


def step_in_fp16(optimizer: torch.optim.Optimizer, weight: torch.Tensor, *losses: float) -> torch.amp.GradScaler:
    """Go down the gradients of these factors times the weight, scaled as the training does."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for factor in losses:
        torch.autograd.backward(scaler.scale((factor * weight).sum()))
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return scaler


def test_n31_the_fused_step_divides_by_the_scale_of_fp16() -> None:
    weight = nn.Parameter(torch.ones(1))
    step_in_fp16(SGD([weight], lr=0.1, fused=True), weight, 1.0)
    assert weight.item() == pytest.approx(0.9, rel=1e-6)


@pytest.mark.parametrize(
    ("ours", "settings"),
    [(SGD, {"momentum": 0.9}), (SGD, {}), (Adam, {}), (AdamW, {"weight_decay": 0.01})],
)
def test_n31_scaled_steps_are_those_without_a_scale(
    ours: type[torch.optim.Optimizer], settings: dict[str, float]
) -> None:
    """Powers of two change no digit. The step in between, whose gradients overflow, moves nothing, momenta included."""
    ones = torch.ones(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    scaled, plain = nn.Parameter(ones.clone()), nn.Parameter(ones.clone())
    scaler = step_in_fp16(ours([scaled], lr=0.1, fused=True, **settings), scaled, 1.0, float("inf"), 3.0)
    optimizer = ours([plain], lr=0.1, fused=True, **settings)
    for factor in (1.0, 3.0):
        torch.autograd.backward((factor * plain).sum())
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(scaled, plain)
    assert scaler.get_scale() == 2.0**15


def test_a_parameter_without_a_gradient_stays() -> None:
    model = a_model()
    before = model[0].weight.detach().clone()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    torch.autograd.backward(model[3](torch.rand(2, 16)).sum())
    optimizer.step()
    assert torch.equal(model[0].weight, before)
    assert model[0].weight not in optimizer.state


def test_views_share_the_memory_of_what_is_channels_last() -> None:
    last, first = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), torch.rand(2, 3, 4, 5)
    assert in_stored_order(last).shape == (2, 4, 5, 3)
    assert in_stored_order(last).is_contiguous()
    assert in_stored_order(last).data_ptr() == last.data_ptr()
    assert in_stored_order(first) is first
