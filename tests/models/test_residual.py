from __future__ import annotations

import torch

from cifarlab.models.residual import ResidualBasic, ResidualBlock
from cifarlab.models.summary import num_parameters


def test_the_linear_layer_sees_720_values() -> None:
    assert ResidualBasic(10).fc.in_features == 720


def test_shapes_are_those_of_the_docstring() -> None:
    shapes, x = [], torch.zeros(1, 3, 32, 32)
    for layer in ResidualBasic(10).features:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    expected = [(8, 30, 30), (16, 28, 28), (16, 14, 14), (16, 14, 14), (20, 12, 12), (20, 6, 6), (20, 6, 6)]
    assert list(dict.fromkeys(shapes)) == list(dict.fromkeys(expected))


def test_parameters_by_hand() -> None:
    convolutions = (27 * 8 + 8) + (72 * 16 + 16) + (144 * 20 + 20)
    blocks = 2 * (144 * 16 + 16) + 2 * (180 * 20 + 20)
    assert num_parameters(ResidualBasic(10)) == convolutions + blocks + 720 * 10 + 10


def test_a_block_of_zero_weights_is_relu() -> None:
    block = ResidualBlock(4)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    x = torch.randn(2, 4, 5, 5)
    kept = x.clone()
    assert torch.equal(block(x), x.clamp(min=0))
    assert torch.equal(x, kept)  # the in-place ReLU works on the sum, not on the input
