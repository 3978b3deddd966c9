"""Convolutions as matrix products against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cifarlab.kernels.layers.small_maps import Im2colConv, SmallMapConv2d, im2col, use_matrix_products
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def outcome(conv: nn.Conv2d, images: Tensor, upstream: Tensor, *, bf16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient for the images, gradient for the weight."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = conv(images)
    output.backward(upstream.to(output.dtype))
    return output.float(), images.grad, conv.weight.grad


@pytest.mark.parametrize("size", [(4, 4), (2, 2), (1, 1), (3, 5), (2, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_output_and_gradients_are_those_of_the_convolution(size: tuple[int, int], stride: int) -> None:
    conv = nn.Conv2d(24, 40, 3, stride, padding=1, bias=False).to(memory_format=torch.channels_last)
    model = nn.Sequential(copy.deepcopy(conv))
    use_matrix_products(model)
    assert type(model[0]) is SmallMapConv2d
    images = torch.randn(6, 24, *size, generator=GENERATOR).to(memory_format=torch.channels_last)
    upstream = torch.randn(conv(images).shape, generator=GENERATOR)
    # Against float32: torch's own bf16 kernel gives taps that see only padding a gradient (2.15, 1×1 maps, stride 2).
    exact = outcome(conv, images, upstream, bf16=False)
    for ours, theirs in zip(outcome(model[0], images, upstream, bf16=True), exact, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 0.02 * theirs.abs().max()  # bf16 keeps 8 bits


def test_gradients_are_exact_in_double_precision() -> None:
    images = torch.randn(2, 3, 4, 3, dtype=torch.float64, generator=GENERATOR, requires_grad=True)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64, generator=GENERATOR, requires_grad=True)
    for stride, size in ((1, (4, 3)), (2, (2, 2)), (1, (4, 2)), (1, (2, 2))):
        assert torch.autograd.gradcheck(lambda x, w, *how: Im2colConv.apply(x, w, *how), (images, weight, stride, size))
        ours, theirs = Im2colConv.apply(images, weight, stride, size), torch.conv2d(images, weight, None, stride, 1)
        assert torch.allclose(ours, theirs[:, :, : size[0], : size[1]])


def test_neighbourhoods_hold_the_pixels_around_each_and_zeros_outside() -> None:
    images = torch.arange(1.0, 7.0).view(1, 2, 3, 1)  # 1 2 3 / 4 5 6
    rows = im2col(images, 1, (2, 3))[0, :, :, :]
    assert rows[0, 0].tolist() == [0, 0, 0, 0, 1, 2, 0, 4, 5]
    assert rows[1, 1].tolist() == [1, 2, 3, 4, 5, 6, 0, 0, 0]


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 1, bias=False),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect", bias=False),
    ],
)
def test_other_convolutions_are_left_alone(conv: nn.Conv2d) -> None:
    model = nn.Sequential(conv)
    use_matrix_products(model)
    assert type(model[0]) is nn.Conv2d


def test_without_bf16_and_on_large_maps_nothing_changes() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    model = nn.Sequential(copy.deepcopy(conv))
    use_matrix_products(model)
    small, large = torch.randn(2, 4, 4, 4, generator=GENERATOR), torch.randn(2, 4, 8, 8, generator=GENERATOR)
    assert torch.equal(model(small), conv(small))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(large), conv(large))


def test_weights_keep_their_names() -> None:
    model = build_network(ModelSpec(name="resnet18", width=0.125), 10)
    names = list(model.state_dict())
    use_matrix_products(model)
    assert list(model.state_dict()) == names
    assert sum(type(module) is SmallMapConv2d for module in model.modules()) == 17
