"""Convolutions with our gradient for the filters against plain ones in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from cifarlab.kernels.layers.convolutions import conv3x3, conv3x3_pool_norm_gelu, conv3x3_with_shortcut
from cifarlab.kernels.ops.pool_norm_gelu import pool_norm_gelu
from cifarlab.models.speednet import Norm

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Values that bf16 holds exactly, so that both sides multiply the same numbers."""
    values = torch.randn(*shape, generator=GENERATOR).bfloat16().to(dtype)
    return values.contiguous(memory_format=torch.channels_last)


def filters(channels_out: int, channels: int) -> Tensor:
    return draw(channels_out, channels, 3, 3).float().requires_grad_()


def assert_close(ours: Tensor, exact: Tensor) -> None:
    assert ours.shape == exact.shape
    assert (ours.double() - exact).abs().max() <= 0.01 * exact.abs().max()  # bf16 keeps 8 bits


@pytest.mark.parametrize(
    ("size", "stride", "out"),
    [
        ((6, 6), 1, (6, 6)),
        ((7, 7), 1, (6, 6)),
        ((7, 6), 1, (6, 6)),
        ((3, 3), 1, (2, 2)),
        ((2, 2), 1, (2, 2)),
        ((1, 1), 1, (1, 1)),
        ((8, 8), 2, (4, 4)),
        ((7, 9), 2, (4, 5)),
        ((1, 5), 1, (1, 5)),
    ],
)
def test_output_and_gradients_are_those_of_the_convolution(
    product_dtype: torch.dtype, size: tuple[int, int], stride: int, out: tuple[int, int]
) -> None:
    images, weight = draw(5, 24, *size, dtype=product_dtype).requires_grad_(), filters(32, 24)
    exact_images, exact_weight = (values.detach().double().requires_grad_() for values in (images, weight))
    found = conv3x3(images, weight, stride, out)
    exact = torch.conv2d(exact_images, exact_weight, stride=stride, padding=1)[:, :, : out[0], : out[1]]
    upstream = draw(*found.shape, dtype=product_dtype)
    gradients = torch.autograd.grad(found, (images, weight), upstream)
    exact_gradients = torch.autograd.grad(exact, (exact_images, exact_weight), upstream.double())
    assert gradients[1].dtype == torch.float32
    for ours, theirs in zip((found, *gradients), (exact, *exact_gradients), strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("size", [(6, 6), (5, 3), (2, 2), (1, 1)])
def test_beside_a_shortcut_both_and_their_gradients_are_the_same(
    product_dtype: torch.dtype, size: tuple[int, int]
) -> None:
    images, weight = draw(5, 32, *size, dtype=product_dtype).requires_grad_(), filters(64, 32)
    exact_images, exact_weight = (values.detach().double().requires_grad_() for values in (images, weight))
    sums = torch.zeros(2, 64, dtype=torch.float64)
    found = conv3x3_with_shortcut(images, weight, sums=sums)
    exact = torch.conv2d(exact_images, exact_weight, padding=1), exact_images * 1
    upstream = [draw(*values.shape, dtype=product_dtype) for values in found]
    gradients = torch.autograd.grad(found, (images, weight), upstream)
    exact_gradients = torch.autograd.grad(exact, (exact_images, exact_weight), [values.double() for values in upstream])
    for ours, theirs in zip((*found, *gradients), (*exact, *exact_gradients), strict=True):
        assert ours.shape == theirs.shape
        assert (ours.double() - theirs).norm() <= 0.02 * theirs.norm()
    assert torch.allclose(sums[1], found[0].double().square().sum((0, 2, 3)), rtol=1e-2)


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (3, 3), (2, 2)])
def test_with_pool_norm_and_gelu_it_is_the_same_as_one_after_the_other(
    product_dtype: torch.dtype, size: tuple[int, int]
) -> None:
    images, weight, norm = draw(6, 24, *size, dtype=product_dtype).requires_grad_(), filters(32, 24), Norm(32)
    other = copy.deepcopy(norm)
    even = (size[0] // 2 * 2, size[1] // 2 * 2)
    found = conv3x3_pool_norm_gelu(images, weight, norm)
    expected = pool_norm_gelu(conv3x3(images, weight, 1, even), other, pool=True)
    upstream = draw(*found.shape, dtype=product_dtype)
    gradients = torch.autograd.grad(found, (images, weight, norm.bias), upstream)
    expected_gradients = torch.autograd.grad(expected, (images, weight, other.bias), upstream)
    assert_close(found, expected.double())
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        # of two values that bf16 does not tell apart, the one operation sees which is larger, and two take the first
        assert (ours.float() - theirs.float()).norm() <= 0.1 * theirs.float().norm()
    # the two kernels may contract their sums differently, which moves some values by a last digit of bf16
    assert torch.allclose(norm.running_mean, other.running_mean, atol=1e-3)
    assert torch.allclose(norm.running_var, other.running_var, rtol=1e-4)


def test_images_that_need_no_gradient_get_none(product_dtype: torch.dtype) -> None:
    images, weight, norm = draw(4, 24, 4, 4, dtype=product_dtype), filters(32, 24), Norm(32)
    torch.autograd.backward(conv3x3(images, weight, 1, (4, 4)).float().sum())
    torch.autograd.backward(conv3x3_pool_norm_gelu(images, weight, norm).float().sum())
    assert images.grad is None
    assert weight.grad is not None
