from __future__ import annotations

import torch
from torch import nn

from cifarlab.models.simple_cnn import SimpleCNN
from cifarlab.models.summary import layers, num_parameters


def test_shapes_are_those_of_the_docstring() -> None:
    shapes = [layer.output for layer in layers(SimpleCNN(10), 32) if layer.kind in ("Conv2d", "MaxPool2d", "Linear")]
    assert shapes == [(32, 32, 32), (32, 16, 16), (64, 16, 16), (64, 8, 8), (128,), (10,)]


def test_parameters_by_hand() -> None:
    # weights and biases: 3·9·32+32, 32·9·64+64, 4096·128+128, 128·10+10
    plain = 896 + 18_496 + 524_416 + 1_290
    assert num_parameters(SimpleCNN(10)) == plain
    # batch norm: two per channel come, one bias per channel goes
    assert num_parameters(SimpleCNN(10, batch_norm=True)) == plain + (32 + 64) * (2 - 1)


def test_fresh_batch_norm_in_evaluation_equals_the_plain_network() -> None:
    plain, normed = SimpleCNN(10).eval(), SimpleCNN(10, batch_norm=True).eval()
    with torch.no_grad():
        pairs = zip(
            [m for m in plain.modules() if isinstance(m, nn.Conv2d | nn.Linear)],
            [m for m in normed.modules() if isinstance(m, nn.Conv2d | nn.Linear)],
            strict=True,
        )
        for source, target in pairs:
            target.weight.copy_(source.weight)
            if isinstance(source, nn.Conv2d):
                source.bias.zero_()
            else:
                target.bias.copy_(source.bias)
        x = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(normed(x), plain(x), rtol=1e-4, atol=1e-5)
