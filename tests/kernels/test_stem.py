"""A ResNet's first layer and its gradients against torch's operations in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cifarlab.kernels import batch_norm, library
from cifarlab.kernels.stem import convolve, gradients, supports

pytestmark = pytest.mark.usefixtures("bf16_kernels")

GENERATOR = torch.Generator().manual_seed(0)
SIZES = [(32, 32), (8, 8), (5, 9), (1, 1), (2, 17)]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int) -> Tensor:
    """Numbers that bf16 holds exactly."""
    values = torch.randn(*shape, generator=GENERATOR).bfloat16().float()
    return values.contiguous(memory_format=torch.channels_last)


def a_layer(channels: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv, norm = nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    with torch.no_grad():
        conv.weight.copy_(draw(channels, 3, 3, 3))
        norm.weight.normal_(generator=GENERATOR)
        norm.bias.normal_(generator=GENERATOR)
    return conv.to(memory_format=torch.channels_last), norm


def distance(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [32, 96])
@pytest.mark.parametrize("num", [1, 7])
def test_it_is_the_convolution_and_adds_up_what_the_norm_needs(size: tuple[int, int], channels: int, num: int) -> None:
    images, weight = draw(num, 3, *size), draw(channels, 3, 3, 3)
    sums = torch.full((2, channels), 5.0, dtype=torch.float64)
    found = convolve(images, weight, sums=sums)
    exact = torch.conv2d(images.double(), weight.double(), padding=1)
    assert found.dtype == torch.bfloat16 and found.is_contiguous(memory_format=torch.channels_last)
    assert ((found - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all()
    values = found.double()
    expected = torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    assert torch.allclose(sums - 5, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [size for size in SIZES if size != (1, 1)])
def test_gradients_are_those_of_the_convolution_and_the_norm(size: tuple[int, int]) -> None:
    images, upstream = draw(6, 3, *size), draw(6, 64, *size)
    conv, norm = a_layer(64)
    exact_conv, exact_norm = copy.deepcopy(conv).double(), copy.deepcopy(norm).double()
    sums, of_gradient = batch_norm.zero_sums(64), batch_norm.zero_sums(64)
    x = convolve(images, conv.weight, sums=sums)
    stats = batch_norm.batch_statistics(norm, sums, batch_norm.num_pixels(x))
    of_gradient += torch.stack([upstream.double(), upstream.double() * x]).sum((1, 3, 4))
    found = gradients(images, upstream.bfloat16(), x, stats, of_gradient)
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    leaves = (exact_conv.weight, exact_norm.weight, exact_norm.bias)
    exact = torch.autograd.grad(exact_norm(exact_conv(images.double())), leaves, upstream.double())
    for one, other in zip((found[0], *found[1]), exact, strict=True):
        assert distance(one, other) < 0.01  # what reaches the filters is rounded to bf16


def test_no_images_give_none() -> None:
    sums = batch_norm.zero_sums(32)
    assert convolve(draw(0, 3, 8, 8), draw(32, 3, 3, 3), sums=sums).shape == (0, 32, 8, 8)
    assert (sums == 0).all()


def test_what_is_no_number_stays_none() -> None:
    images = draw(2, 3, 4, 4)
    images[1, 0, 0, 0] = torch.nan
    found = convolve(images, draw(32, 3, 3, 3), sums=batch_norm.zero_sums(32))
    assert found[1, :, :2, :2].isnan().all()
    assert found.isnan().sum() == 4 * 32


def test_it_fits_the_stem_for_small_images_that_need_no_gradient() -> None:
    images, conv = draw(2, 3, 8, 8), a_layer(32)[0]
    assert supports(images, conv)
    assert not supports(images.clone().requires_grad_(), conv)
    assert not supports(images.double(), conv)
    for other in (
        nn.Conv2d(3, 32, 3, padding=1),
        nn.Conv2d(3, 32, 7, 2, 3, bias=False),
        nn.Conv2d(3, 24, 3, padding=1, bias=False),
        nn.Conv2d(4, 32, 3, padding=1, bias=False),
    ):
        assert not supports(images, other)


def test_it_fits_only_where_the_kernel_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_library", None)
    assert not supports(draw(2, 3, 8, 8), a_layer(32)[0])
