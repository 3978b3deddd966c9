from __future__ import annotations

import pytest
import torch
from torch import nn

from cifarlab.models.registry import MODELS, build_network
from cifarlab.models.summary import layers, multiply_adds, num_parameters
from cifarlab.recipe.schema import ModelSpec

# outputs × (inputs per output), layer by layer
BASIC_CNN = 30 * 30 * 10 * 27 + 28 * 28 * 15 * 90 + 24 * 24 * 20 * 375 + 8 * 8 * 25 * 500 + 400 * 10
SIMPLE_CNN = 32 * 32 * 32 * 27 + 16 * 16 * 64 * 288 + 4096 * 128 + 128 * 10
# stem; four convolutions; then three times: one with half the inputs, three whole ones, and the projection
RESNET18 = 1024 * 64 * 27 + 4 * 1024 * 64 * 576 + 3 * (256 * 128 * (576 + 3 * 1152 + 64)) + 512 * 10
SPEEDNET = (
    (31 * 31 * 24 * 12)
    + (30 * 30 * 64 * 24 * 9 + 15 * 15 * 64 * 64 * 9)
    + (14 * 14 * 256 * 64 * 9 + 7 * 7 * 256 * 256 * 9)
    + (6 * 6 * 256 * 256 * 9 + 3 * 3 * 256 * 256 * 9)
    + 256 * 10
)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [("basic-cnn", BASIC_CNN), ("simple-cnn", SIMPLE_CNN), ("resnet18", RESNET18), ("speednet", SPEEDNET)],
)
def test_multiply_adds_by_hand(name: str, by_hand: int) -> None:
    with torch.device("meta"):
        assert multiply_adds(build_network(ModelSpec(name=name), 10), 32) == by_hand


@pytest.mark.parametrize("name", MODELS)
def test_rows_add_up(name: str) -> None:
    with torch.device("meta"):
        model = build_network(ModelSpec(name=name), 10)
        rows = layers(model, 32)
        assert sum(row.num_parameters for row in rows) == num_parameters(model)
        assert sum(row.multiply_adds for row in rows) == multiply_adds(model, 32)
    assert rows[-1].output == (10,)


def test_a_module_with_parts_and_weights_of_its_own_has_a_row() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.flatten, self.linear = nn.Flatten(), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * self.linear(self.flatten(x))

    rows = {row.name: row for row in layers(nn.Sequential(Scaled()), 1)}
    assert rows["0"].num_parameters == 1 and rows["0"].multiply_adds == 0
    assert rows["0.linear"].num_parameters == 8 and rows["0.linear"].multiply_adds == 6
    assert rows["0.linear"].output == (2,)


def test_parameters_are_counted_when_frozen_and_buffers_are_not() -> None:
    model = nn.BatchNorm2d(5).requires_grad_(False)
    assert num_parameters(model) == 10
