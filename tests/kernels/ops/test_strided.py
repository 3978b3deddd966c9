"""The convolution with stride 2 and its gradient for the images against plain ones in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cifarlab.kernels.strided import convolve, images_gradient, supports

pytestmark = pytest.mark.usefixtures("bf16_kernels")

GENERATOR = torch.Generator().manual_seed(0)
CHANNELS = [(16, 32), (32, 64), (34, 32), (96, 160)]
SIZES = [(1, 1), (2, 2), (3, 1), (1, 8), (7, 7), (8, 6), (9, 10), (16, 17)]
ERROR = 7e-3
"""Of the result's norm; docs/speed.md has what was measured."""


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).bfloat16().contiguous(memory_format=torch.channels_last)


def filters(channels_out: int, channels: int) -> Tensor:
    """Values that bf16 holds exactly, so that both sides multiply the same numbers."""
    return draw(channels_out, channels, 3, 3).float()


def assert_close(found: Tensor, exact: Tensor) -> None:
    assert found.dtype == torch.bfloat16
    assert found.shape == exact.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - exact).norm() <= ERROR * exact.norm()


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num", [1, 2, 35])
def test_it_is_the_convolution(channels: tuple[int, int], size: tuple[int, int], num: int) -> None:
    images, weight = draw(num, channels[0], *size), filters(channels[1], channels[0])
    assert_close(convolve(images, weight), torch.conv2d(images.double(), weight.double(), stride=2, padding=1))


@pytest.mark.parametrize("channels", [(out, channels) for channels, out in CHANNELS])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num", [1, 2, 35])
def test_it_is_the_gradient_for_the_images(channels: tuple[int, int], size: tuple[int, int], num: int) -> None:
    images, weight = draw(num, channels[0], *size), filters(channels[1], channels[0])
    gradient = draw(num, channels[1], -(-size[0] // 2), -(-size[1] // 2))
    inputs = images.double().requires_grad_()
    output = torch.conv2d(inputs, weight.double(), stride=2, padding=1)
    (exact,) = torch.autograd.grad(output, inputs, gradient.double())
    assert_close(images_gradient(weight, gradient, size), exact)


def test_threads_share_the_images_and_change_nothing() -> None:
    images, weight = draw(9, 32, 8, 8), filters(32, 32)
    gradient, before = draw(9, 32, 4, 4), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 16):
            torch.set_num_threads(threads)
            found.append((convolve(images, weight), images_gradient(weight, gradient, (8, 8))))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert torch.equal(others[0], found[0][0])
        assert torch.equal(others[1], found[0][1])


def test_what_is_no_number_stays_within_its_patch() -> None:
    images, weight = draw(2, 32, 16, 16), filters(32, 32)
    images[1, 5, 0, 0] = torch.nan
    found = convolve(images, weight)
    assert found[0].isfinite().all()
    assert found[1, :, 0, 0].isnan().all()
    assert found[1, :, 4:].isfinite().all()


def test_it_fits_channels_that_fill_its_registers() -> None:
    assert supports(16, 32, (4, 4))
    assert supports(34, 96, (4, 4))
    assert not supports(8, 32, (4, 4))
    assert not supports(17, 32, (4, 4))
    assert not supports(16, 48, (4, 4))


@pytest.mark.parametrize(("size", "saves"), [((4, 4), True), ((7, 7), True), ((3, 4), True), ((3, 3), False)])
def test_it_fits_maps_that_need_fewer_products(size: tuple[int, int], saves: bool) -> None:
    assert supports(16, 32, size) == saves
