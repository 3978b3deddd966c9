"""The convolution with fewer products against the plain one in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels import build
from cifarlab.kernels.build import SUFFIX
from cifarlab.kernels.winograd import (
    HALVING,
    Gate,
    convolve,
    convolve_and_pool,
    convolve_fused,
    num_patches,
    num_products,
    patch_side,
    supports,
    transform_filters,
)

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)
TOLERANCE = {
    (torch.float32, 2): 2e-6,
    (torch.bfloat16, 2): 6e-3,
    (torch.bfloat16, 3): 9e-3,
    (torch.bfloat16, 4): 1.6e-2,
}
"""Of the norm of the result, by type and side of the patches."""
CHANNELS = [(16, 32), (24, 64), (64, 32), (34, 96)]
SIZES = [((6, 6), (6, 6)), ((7, 5), (7, 5)), ((7, 7), (6, 6)), ((6, 6), (7, 7)), ((1, 5), (1, 5)), ((2, 2), (2, 2))]
SIZES += [((8, 9), (8, 9)), ((10, 4), (9, 3))]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).to(dtype)


def maps(*shape: int, dtype: torch.dtype) -> Tensor:
    return draw(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


def needs(dtype: torch.dtype) -> None:
    if not build.has(f"winograd_{SUFFIX[dtype]}"):
        pytest.skip("a kernel for AVX-512, for bf16 on CPUs with bf16 and without AMX")


def plain(images: Tensor, weight: Tensor, bias: Tensor, size: tuple[int, int]) -> Tensor:
    padded = F.pad(images.double(), (1, 2, 1, 2))
    return torch.conv2d(padded, weight.double(), bias.double())[:, :, : size[0], : size[1]]


def distance(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize(("dtype", "side"), TOLERANCE)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("size", "out"), SIZES)
@pytest.mark.parametrize("num", [1, 3, 70])
def test_it_is_the_convolution(
    dtype: torch.dtype, side: int, channels: tuple[int, int], size: tuple[int, int], out: tuple[int, int], num: int
) -> None:
    needs(dtype)
    images, bias = maps(num, channels[0], *size, dtype=dtype), draw(channels[1])
    weight = draw(channels[1], channels[0], 3, 3).to(memory_format=torch.channels_last)
    found = convolve(images, transform_filters(weight, dtype, side=side), out, side=side, bias=bias)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert distance(found, plain(images, weight, bias, out)) < TOLERANCE[dtype, side]


@pytest.mark.parametrize("side", [2, 3, 4])
def test_turned_filters_give_the_gradient_for_the_images(side: int) -> None:
    needs(torch.bfloat16)
    images, weight = draw(4, 32, 7, 7).double().requires_grad_(), draw(64, 32, 3, 3)
    upstream = maps(4, 64, 6, 6, dtype=torch.bfloat16)
    output = torch.conv2d(images, weight.double(), padding=1)[:, :, :6, :6]
    (exact,) = torch.autograd.grad(output, images, upstream.double())
    found = convolve_fused(upstream, weight, (7, 7), side=side, flipped=True)
    assert distance(found, exact) < TOLERANCE[torch.bfloat16, side]


@pytest.mark.parametrize(("dtype", "side"), TOLERANCE)
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (2, 2), (10, 6), (6, 6)])
def test_pooled_it_gives_the_largest_of_each_window_its_place_and_the_sums(
    dtype: torch.dtype, side: int, size: tuple[int, int]
) -> None:
    needs(dtype)
    images, weight = maps(9, 24, *size, dtype=dtype), draw(32, 24, 3, 3)
    even = (size[0] // 2 * 2, size[1] // 2 * 2)
    filters = transform_filters(weight, dtype, side=side)
    output = convolve(images, filters, even, side=side)
    expected, where = F.max_pool2d(output.float(), 2, return_indices=True)
    pooled, places = torch.empty_like(expected, dtype=dtype), torch.empty_like(expected, dtype=torch.uint8)
    sums = torch.full((2, 32), 5.0, dtype=torch.float64)
    convolve_and_pool(images, filters, side, pooled, places, sums)
    # the two kernels may contract their sums differently
    rtol, atol = (2**-7 if dtype == torch.bfloat16 else 1e-5), 1e-4
    assert torch.allclose(pooled.float(), expected, rtol=rtol, atol=atol)
    values = pooled.double()
    assert torch.allclose(sums - 5, torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]), rtol=1e-5)
    row, column = where // even[1] % 2, where % even[1] % 2
    chosen = output.float().unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).gather(4, places.long()[..., None])[..., 0]
    assert torch.allclose(chosen, expected, rtol=rtol, atol=atol)
    if dtype == torch.float32:  # in bf16 two values can become equal in the output that are not in the kernel
        assert torch.equal(places.long(), 2 * row + column)


@pytest.mark.parametrize(("side", "flipped"), [(2, False), (3, False), (4, False), (4, True), (HALVING, False)])
@pytest.mark.parametrize(("size", "apart"), [((8, 6), 1), ((8, 6), 2), ((5, 7), 2)])
def test_what_is_added_and_the_sums(side: int, flipped: bool, size: tuple[int, int], apart: int) -> None:
    needs(torch.bfloat16)
    images, weight = maps(5, 32, 5, 7, dtype=torch.bfloat16), draw(32, 32, 3, 3)
    added = maps(5, 32, *(-(-length // apart) for length in size), dtype=torch.bfloat16)
    sums = torch.full((2, 32), 5.0, dtype=torch.float64)
    found = convolve_fused(images, weight, size, side=side, flipped=flipped, added=added, sums=sums).double()
    plain = convolve_fused(images, weight, size, side=side, flipped=flipped).double()
    plain[:, :, ::apart, ::apart] += added
    assert distance(found, plain) < 4e-3  # of which each rounds once
    expected = torch.stack([found.sum((0, 2, 3)), found.square().sum((0, 2, 3))])
    assert torch.allclose(sums - 5, expected, rtol=5e-3, atol=2)  # of values before they are rounded


@pytest.mark.parametrize(("side", "flipped"), [(2, False), (3, False), (4, False), (4, True), (HALVING, False)])
@pytest.mark.parametrize(("num", "channels_out"), [(5, 32), (1, 64)])
@pytest.mark.parametrize("adds", [False, True])
def test_through_a_gate_and_the_sums(side: int, flipped: bool, num: int, channels_out: int, adds: bool) -> None:
    needs(torch.bfloat16)
    size = (3, 2) if num == 1 else (8, 6)  # a single image goes by columns
    shape = (32, channels_out, 3, 3) if flipped else (channels_out, 32, 3, 3)
    images, weight = maps(num, 32, 5, 7, dtype=torch.bfloat16), draw(*shape)
    x, added = (maps(num, channels_out, *size, dtype=torch.bfloat16) for _ in range(2))
    bits = torch.randint(2, (num, *size, channels_out // 16, 16), generator=GENERATOR)
    passed = (bits << torch.arange(16)).sum(-1).to(torch.int16)
    sums = torch.full((2, channels_out), 5.0, dtype=torch.float64)
    more = {"side": side, "flipped": flipped, "added": added if adds else None}
    found = convolve_fused(images, weight, size, gate=Gate(x, passed), sums=sums, **more)
    plain = convolve_fused(images, weight, size, **more)
    assert torch.equal(found, torch.where(bits.flatten(3).permute(0, 3, 1, 2) == 1, plain, 0))
    values = found.double()
    expected = torch.stack([values.sum((0, 2, 3)), (values * x).sum((0, 2, 3))])
    assert torch.allclose(sums - 5, expected, rtol=5e-3, atol=2)  # of values before they are rounded


def scale_and_shift(channels: int) -> Tensor:
    """Of a norm; zeros around a map would become more than zeros, and one channel is constant."""
    affine = draw(2, channels)
    affine[0, 3] = 0
    affine[1].abs_()
    return affine


def rectified(x: Tensor, affine: Tensor) -> Tensor:
    return F.relu(x * affine[0, :, None, None] + affine[1, :, None, None])


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(("num", "size"), [(9, (8, 6)), (9, (5, 7)), (1, (3, 2))])  # the last one goes by columns
def test_of_images_in_front_of_a_norm_and_relu(side: int, flipped: bool, num: int, size: tuple[int, int]) -> None:
    needs(torch.bfloat16)
    x, weight, affine = maps(num, 48, *size, dtype=torch.bfloat16), draw(64, 48, 3, 3), scale_and_shift(48)
    exact = torch.conv2d(rectified(x.double(), affine.double()), weight.double(), padding=1)
    given = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last) if flipped else weight
    found = convolve_fused(x, given, size, side=side, affine=affine, flipped=flipped)
    assert distance(found, exact) < TOLERANCE[torch.bfloat16, side]


def test_of_such_images_what_is_no_number_stays_none() -> None:
    needs(torch.bfloat16)
    x = maps(2, 32, 8, 8, dtype=torch.bfloat16)
    x[1, 5, 0, 0] = torch.nan
    found = convolve_fused(x, draw(32, 32, 3, 3), (8, 8), side=4, affine=scale_and_shift(32))
    assert found[0].isfinite().all() and found[1, :, :2, :2].isnan().all()


@pytest.mark.parametrize("side", [2, 4, HALVING])
def test_a_gate_may_be_the_scale_and_shift_of_a_norm(side: int) -> None:
    needs(torch.bfloat16)
    images, weight, affine = maps(5, 32, 16, 12, dtype=torch.bfloat16), draw(64, 32, 3, 3), scale_and_shift(64)
    size = (8, 6) if side == HALVING else (16, 12)
    x = maps(5, 64, *size, dtype=torch.bfloat16)
    passes = (rectified(x.double(), affine.double()) > 0).permute(0, 2, 3, 1).unflatten(3, (4, 16))
    passed = (passes.long() << torch.arange(16)).sum(-1).to(torch.int16)
    found, expected = (torch.zeros(2, 64, dtype=torch.float64) for _ in range(2))
    one = convolve_fused(images, weight, size, side=side, gate=Gate(x, None, affine), sums=found)
    other = convolve_fused(images, weight, size, side=side, gate=Gate(x, passed), sums=expected)
    assert torch.equal(one, other) and torch.equal(found, expected)


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize(("num", "size"), [(1, (4, 4)), (3, (4, 4)), (13, (3, 5)), (67, (2, 3)), (67, (8, 9))])
def test_by_patches_or_columns_it_is_the_same_as_by_transformed_filters(
    side: int, num: int, size: tuple[int, int]
) -> None:
    needs(torch.bfloat16)
    images, weight = maps(num, 64, *size, dtype=torch.bfloat16), draw(320, 64, 3, 3)
    assert (num * num_patches(size, side) < 320) == (size != (8, 9))
    found = convolve_fused(images, weight, size, side=side)
    assert torch.equal(found, convolve(images, transform_filters(weight, torch.bfloat16, side=side), size, side=side))
    other = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, convolve_fused(images, other, size, side=side, flipped=True))


def test_no_images_give_none() -> None:
    needs(torch.float32)
    images, filters = maps(0, 16, 4, 4, dtype=torch.float32), transform_filters(draw(32, 16, 3, 3), torch.float32)
    assert convolve(images, filters, (4, 4)).shape == (0, 32, 4, 4)


def test_what_is_no_number_stays_none() -> None:
    needs(torch.float32)
    images = maps(2, 16, 4, 4, dtype=torch.float32)
    images[1, 0, 0, 0] = torch.nan
    found = convolve(images, transform_filters(draw(32, 16, 3, 3), torch.float32), (4, 4))
    assert found[0].isfinite().all()
    assert found[1, :, :2, :2].isnan().all()


@pytest.mark.parametrize(
    ("size", "products", "side"),
    [
        ((1, 1), (16, 25, 36), 2),
        ((3, 3), (64, 25, 36), 3),
        ((6, 6), (144, 100, 144), 3),
        ((7, 7), (256, 225, 144), 4),
        ((2, 16), (128, 150, 144), 2),
        ((9, 9), (400, 225, 324), 3),
        ((18, 18), (1296, 900, 900), 4),
        ((30, 30), (3600, 2500, 2304), 4),
    ],
)
def test_patches_are_as_large_as_needs_the_fewest_products(
    size: tuple[int, int], products: tuple[int, ...], side: int
) -> None:
    assert tuple(num_products(size, of) for of in (2, 3, 4)) == products
    assert patch_side(size, torch.bfloat16) == side
    assert patch_side(size, torch.float32) == 2


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(16, 32, 3, padding=1), True),
        (nn.Conv2d(8, 32, 3, padding=1), False),
        (nn.Conv2d(17, 32, 3, padding=1), False),
        (nn.Conv2d(16, 40, 3, padding=1), False),
        (nn.Conv2d(16, 32, 3), False),
        (nn.Conv2d(16, 32, 3, 2, padding=1), False),
        (nn.Conv2d(16, 32, 5, padding=1), False),
        (nn.Conv2d(64, 64, 3, padding=1, groups=2), False),
        (nn.Linear(16, 32), False),
    ],
)
def test_it_fits_plain_convolutions_with_channels_that_fill_registers(conv: nn.Module, expected: bool) -> None:
    needs(torch.float32)
    assert supports(conv, torch.float32) == expected
