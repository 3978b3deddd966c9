from __future__ import annotations

import torch

from cifarlab.models.basic_cnn import BasicCNN
from cifarlab.models.summary import layers


def test_shapes_are_those_of_the_docstring() -> None:
    shapes = [layer.output for layer in layers(BasicCNN(10), 32) if layer.kind in ("Conv2d", "MaxPool2d")]
    assert shapes == [(10, 30, 30), (15, 28, 28), (20, 24, 24), (20, 12, 12), (25, 8, 8), (25, 4, 4)]
    assert BasicCNN(10).fc.in_features == 400


def test_every_convolution_is_followed_by_relu() -> None:
    kinds = [type(module).__name__ for module in BasicCNN(10).features]
    assert all(kinds[i + 1] == "ReLU" for i, kind in enumerate(kinds) if kind == "Conv2d")


def test_other_sizes_change_the_linear_layer() -> None:
    assert BasicCNN(10, 64).fc.in_features == 25 * 12 * 12  # 64 -> 62 -> 60 -> 56 -> 28 -> 24 -> 12
    assert BasicCNN(10, 33)(torch.zeros(1, 3, 33, 33)).shape == (1, 10)
