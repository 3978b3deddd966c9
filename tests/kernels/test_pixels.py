"""1×1 convolutions and their gradients against torch's in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.pixels import convolve, images_gradient, supports, weight_gradient

pytestmark = pytest.mark.usefixtures("bf16_kernels")

GENERATOR = torch.Generator().manual_seed(0)
SHAPES = [
    (3, 32, 64, (8, 8), 2),
    (5, 64, 32, (7, 5), 2),
    (2, 32, 96, (16, 16), 1),
    (7, 96, 64, (3, 9), 3),
    (1, 32, 32, (1, 1), 2),
    (40, 160, 64, (4, 4), 2),
]
"""Images, channels, channels_out, size and stride."""
TOLERANCE = 4e-3
"""Of the norm of the result, which is rounded to bf16."""


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int) -> Tensor:
    """Numbers that bf16 holds exactly."""
    return torch.randn(*shape, generator=GENERATOR).bfloat16()


def maps(*shape: int) -> Tensor:
    return draw(*shape).contiguous(memory_format=torch.channels_last)


def assert_close(found: Tensor, exact: Tensor, tolerance: float = TOLERANCE) -> None:
    assert found.shape == exact.shape
    assert (found - exact).norm() <= tolerance * exact.norm()


@pytest.mark.parametrize(("num", "channels", "channels_out", "size", "stride"), SHAPES)
def test_it_is_the_convolution_with_its_gradients(
    num: int, channels: int, channels_out: int, size: tuple[int, int], stride: int
) -> None:
    images, weight = maps(num, channels, *size), draw(channels_out, channels, 1, 1).float()
    sums = torch.full((2, channels_out), 5.0, dtype=torch.float64)
    found = convolve(images, weight, stride, sums=sums)
    exact_images, exact_weight = images.double().requires_grad_(), weight.double().requires_grad_()
    exact = F.conv2d(exact_images, exact_weight, stride=stride)
    assert found.dtype == torch.bfloat16 and found.is_contiguous(memory_format=torch.channels_last)
    assert_close(found, exact)
    values = found.double()
    expected = torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    assert torch.allclose(sums - 5, expected, rtol=1e-4, atol=1e-4)
    gradient = maps(*found.shape)
    of_images, of_weight = torch.autograd.grad(exact, (exact_images, exact_weight), gradient.double())
    assert_close(images_gradient(weight, gradient), of_images[:, :, ::stride, ::stride])
    assert_close(weight_gradient(images, gradient, stride), of_weight, 1e-6)


def test_without_sums_it_is_the_same() -> None:
    images, weight = maps(3, 32, 8, 8), draw(64, 32, 1, 1).float()
    sums = torch.zeros(2, 64, dtype=torch.float64)
    assert torch.equal(convolve(images, weight, 2), convolve(images, weight, 2, sums=sums))


def test_no_images_give_none() -> None:
    assert convolve(maps(0, 32, 4, 4), draw(64, 32, 1, 1).float(), 2).shape == (0, 64, 2, 2)


def test_what_is_no_number_stays_none() -> None:
    images = maps(3, 32, 4, 4)
    images[1, 3, 2, 2] = torch.nan
    found = convolve(images, draw(64, 32, 1, 1).float(), 2)
    assert found[1, :, 1, 1].isnan().all() and found.isnan().sum() == 64


def test_it_fits_1x1_convolutions_with_even_strides_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert supports(nn.Conv2d(32, 64, 1, stride=2, bias=False))
    for other in (
        nn.Conv2d(32, 64, 1),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.Conv2d(32, 64, 1, padding=1, bias=False),
        nn.Conv2d(32, 64, 1, stride=(2, 1), bias=False),
        nn.Conv2d(32, 64, 1, groups=2, bias=False),
        nn.Conv2d(48, 64, 1, bias=False),
        nn.Conv2d(32, 48, 1, bias=False),
        nn.Identity(),
    ):
        assert not supports(other)
    monkeypatch.setattr(library, "_library", None)
    assert not supports(nn.Conv2d(32, 64, 1, bias=False))
