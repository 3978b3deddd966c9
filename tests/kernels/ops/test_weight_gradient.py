"""The kernel against the convolution's gradient in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cifarlab.kernels.weight_gradient import _patches_are_faster, supports, weight_gradient
from cifarlab.kernels.winograd import patch_side

pytestmark = pytest.mark.usefixtures("bf16_kernels")

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).bfloat16().contiguous(memory_format=torch.channels_last)


def exact(images: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """By autograd, with as many zeros below and to the right as the output's size asks for."""
    weight = torch.zeros(gradient.shape[1], images.shape[1], 3, 3, dtype=torch.float64, requires_grad=True)
    padded = nn.functional.pad(images.double(), (1, 2, 1, 2))
    output = torch.conv2d(padded, weight, stride=stride)[:, :, : gradient.shape[2], : gradient.shape[3]]
    return torch.autograd.grad(output, weight, gradient.double())[0]


@pytest.mark.parametrize("num", [1, 2, 7, 40])
@pytest.mark.parametrize("channels", [(8, 32), (24, 64), (16, 96), (40, 32), (64, 32)])
@pytest.mark.parametrize(
    ("size", "out", "stride"),
    [
        ((2, 5), (2, 5), 1),
        ((3, 5), (2, 5), 1),
        ((3, 3), (2, 2), 1),
        ((1, 1), (1, 1), 1),
        ((2, 1), (2, 1), 1),
        ((2, 18), (2, 18), 1),
        ((6, 6), (3, 3), 2),
        ((5, 5), (3, 3), 2),
        ((1, 1), (1, 1), 2),
        ((2, 3), (1, 2), 2),
    ],
)
def test_it_is_the_gradient_of_the_convolution(
    num: int, channels: tuple[int, int], size: tuple[int, int], out: tuple[int, int], stride: int
) -> None:
    images, gradient = draw(num, channels[0], *size), draw(num, channels[1], *out)
    found, expected = weight_gradient(images, gradient, stride), exact(images, gradient, stride)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("num", [1, 2, 7, 40])
@pytest.mark.parametrize("channels", [(16, 32), (24, 64), (40, 96), (256, 64)])
@pytest.mark.parametrize(
    ("size", "out", "stride", "error"),
    [
        ((7, 7), (6, 6), 1, 9e-3),
        ((6, 9), (6, 9), 1, 9e-3),
        ((3, 3), (3, 3), 1, 9e-3),
        ((5, 5), (5, 5), 1, 9e-3),
        ((4, 4), (4, 4), 1, 1.6e-2),
        ((8, 7), (8, 7), 1, 1.6e-2),
        ((19, 18), (18, 17), 1, 1.6e-2),
        ((8, 8), (4, 4), 2, 8e-3),
        ((5, 7), (3, 4), 2, 8e-3),
        ((16, 19), (8, 10), 2, 8e-3),
    ],
)
def test_with_fewer_products_it_is_the_same_up_to_their_rounding(
    num: int, channels: tuple[int, int], size: tuple[int, int], out: tuple[int, int], stride: int, error: float
) -> None:
    images, gradient = draw(num, channels[0], *size), draw(num, channels[1], *out)
    found, expected = weight_gradient(images, gradient, stride), exact(images, gradient, stride)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert 1e-4 < (found - expected).norm() / expected.norm() < error  # 1e-4: the other kernel is not what is tested


@pytest.mark.parametrize("num", [1, 7, 40])
@pytest.mark.parametrize(("channels", "channels_out"), [(32, 32), (48, 96)])
@pytest.mark.parametrize(
    ("size", "error"), [((6, 6), 9e-3), ((8, 8), 1.6e-2), ((7, 8), 1.6e-2), ((5, 5), 9e-3), ((2, 2), 3e-3)]
)
def test_of_images_in_front_of_a_norm_and_relu(
    num: int, channels: int, channels_out: int, size: tuple[int, int], error: float
) -> None:
    x, gradient = draw(num, channels, *size), draw(num, channels_out, *size)
    affine = torch.randn(2, channels, generator=GENERATOR)
    affine[1].abs_()  # zeros around the map would become more than zeros
    scale, shift = affine.double()[:, :, None, None]
    expected = exact(torch.relu(x * scale + shift), gradient, 1)
    found = weight_gradient(x, gradient, 1, affine=affine)
    assert (found - expected).norm() / expected.norm() < error


@pytest.mark.parametrize("channels", [24, 128])
@pytest.mark.parametrize("side", [2, 7])
def test_the_same_bits_come_out_twice_and_nearly_the_same_with_another_number_of_threads(
    side: int, channels: int
) -> None:
    """The many channels are divided between the threads, the few images of the others."""
    images, gradient = draw(9, channels, side, side), draw(9, 4 * channels // 3 // 32 * 32, side, side)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 2, 16):  # 16: more than there are pairs of images
            torch.set_num_threads(threads)
            found.append(weight_gradient(images, gradient, 1))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[1], found[2])
    for other in found[1:]:
        assert torch.allclose(other, found[0], rtol=1e-5, atol=1e-5 * float(found[0].abs().max()))


def test_patches_of_2x2_are_never_asked_for() -> None:
    sizes = [(height, width) for height in range(1, 65) for width in range(1, 65)]
    sides = {size: patch_side(size, torch.bfloat16) for size in sizes}
    assert {sides[size] for size in sizes if _patches_are_faster(size, sides[size])} == {3, 4}


def test_it_fits_channels_that_fill_its_registers() -> None:
    assert supports(nn.Conv2d(8, 32, 3))
    assert not supports(nn.Conv2d(3, 64, 3))
    assert not supports(nn.Conv2d(64, 48, 3))
    assert not supports(nn.Linear(8, 32))
