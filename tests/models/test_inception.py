from __future__ import annotations

import torch
import torch.nn.functional as F

from cifarlab.models.inception import InceptionBasic, InceptionBlock


def test_the_linear_layer_sees_3168_values() -> None:
    assert InceptionBasic(10).fc.in_features == 3168


def test_shapes_are_those_of_the_docstring() -> None:
    shapes, x = [], torch.zeros(1, 3, 32, 32)
    for layer in InceptionBasic(10).features:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (16, 30, 30),
        (64, 28, 28),
        (64, 14, 14),
        (88, 14, 14),
        (64, 12, 12),
        (64, 6, 6),
        (88, 6, 6),
    ]


def test_a_block_joins_its_branches_in_order() -> None:
    torch.manual_seed(0)
    block = InceptionBlock(5)
    x = torch.randn(2, 5, 6, 6)
    y = block(x)
    one = block.one[0]
    torch.testing.assert_close(y[:, 24:40], F.relu(F.conv2d(x, one.weight, one.bias)))
    pooled = block.pooled[1][0]
    mean = F.avg_pool2d(x, 3, 1, 1)
    torch.testing.assert_close(y[:, :24], F.relu(F.conv2d(mean, pooled.weight, pooled.bias)))
    assert y.shape == (2, 88, 6, 6)
