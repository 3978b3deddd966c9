"""The convolution in front of a pool against the plain one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels.layers.small_maps import SmallMapPooledConv2d, use_matrix_products
from cifarlab.models.pooled_conv import PooledConv2d

GENERATOR = torch.Generator().manual_seed(0)
SIDES = [(8, 8), (7, 7), (7, 8), (4, 9), (3, 3), (2, 5)]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def outcome(conv: nn.Module, images: Tensor, pool: Callable[..., Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Pooled output, gradient for the images, gradient for the weight."""
    images = images.clone().requires_grad_()
    pooled = pool(conv(images), 2)
    weights = torch.linspace(0.5, 1.5, pooled.numel()).view(pooled.shape)
    torch.autograd.backward((pooled * weights).sum())
    assert images.grad is not None
    (weight,) = [parameter for name, parameter in conv.named_parameters() if name.endswith("weight")]
    return pooled.float(), images.grad, weight.grad


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("bias", [False, True])
def test_a_pool_sees_what_the_plain_convolution_would_show_it(sides: tuple[int, int], bias: bool) -> None:
    ours = PooledConv2d(6, 10, 3, padding=1, bias=bias).double()
    plain = nn.Conv2d(6, 10, 3, padding=1, bias=bias).double()
    plain.load_state_dict(ours.state_dict())
    images = torch.randn(4, 6, *sides, dtype=torch.float64, generator=GENERATOR)
    for mine, theirs in zip(outcome(ours, images, F.max_pool2d), outcome(plain, images, F.max_pool2d), strict=True):
        assert torch.allclose(mine, theirs)


def test_only_even_sides_are_computed() -> None:
    conv = PooledConv2d(3, 5, 3, padding=1)
    assert conv(torch.zeros(2, 3, 7, 8)).shape == (2, 5, 6, 8)


@pytest.mark.parametrize("sides", [(5, 5), (3, 3), (2, 3), (4, 4)])
def test_matrix_products_take_its_place_on_small_maps(sides: tuple[int, int]) -> None:
    plain = nn.Conv2d(24, 40, 3, padding=1, bias=False)
    ours = nn.Sequential(PooledConv2d(24, 40, 3, padding=1, bias=False))
    ours[0].load_state_dict(copy.deepcopy(plain.state_dict()))
    use_matrix_products(ours)
    assert type(ours[0]) is SmallMapPooledConv2d
    images = torch.randn(6, 24, *sides, generator=GENERATOR)
    with torch.autocast("cpu", torch.bfloat16):
        found = outcome(ours, images, F.avg_pool2d)  # which does not jump when rounding swaps two values
    for mine, theirs in zip(found, outcome(plain, images, F.avg_pool2d), strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).abs().max() < 0.03 * theirs.abs().max()  # bf16 keeps 8 bits
