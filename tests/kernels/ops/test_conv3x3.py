"""The convolutions with fewer products and their gradients against plain ones in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels.ops import conv3x3
from cifarlab.kernels.ops.batch_norm import lanes
from cifarlab.kernels.ops.conv3x3 import (
    DOUBLING,
    HALVING,
    Gate,
    convolve,
    convolve_and_pool,
    convolve_fused,
    convolve_transformed,
    images_gradient,
    num_products,
    supports,
    tile_side,
    transform_filters,
    weight_gradient,
)

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)
TOLERANCE = {
    torch.float32: {2: 1e-6, 3: 2e-6, 4: 3e-6, HALVING: 2e-6, DOUBLING: 2e-6},
    torch.bfloat16: {2: 6e-3, 3: 9e-3, 4: 1.6e-2, HALVING: 7e-3, DOUBLING: 7e-3},
}
"""The error, as a fraction of the norm of the result, by type and kind of tiles."""
CHANNELS = [(16, 32), (24, 64), (64, 32), (40, 96)]
SIZES = [((6, 6), (6, 6)), ((7, 5), (7, 5)), ((7, 7), (6, 6)), ((6, 6), (7, 7)), ((1, 5), (1, 5)), ((2, 2), (2, 2))]
SIZES += [((8, 9), (8, 9)), ((10, 4), (9, 3))]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


@pytest.fixture
def dtype(product_dtype: torch.dtype) -> torch.dtype:
    """Each type that the kernels of this CPU multiply."""
    return product_dtype


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).to(dtype)


def maps(*shape: int, dtype: torch.dtype) -> Tensor:
    return draw(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


def filters(channels_out: int, channels: int) -> Tensor:
    """Values that bf16 holds exactly, so that both sides multiply the same numbers."""
    return draw(channels_out, channels, 3, 3).bfloat16().float().contiguous(memory_format=torch.channels_last)


def plain(images: Tensor, weight: Tensor, size: tuple[int, int], stride: int = 1, bias: Tensor | None = None) -> Tensor:
    padded = F.pad(images.double(), (1, 2, 1, 2))
    shift = None if bias is None else bias.double()
    return torch.conv2d(padded, weight.double(), shift, stride)[:, :, : size[0], : size[1]]


def distance(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape
    return float((found - exact.detach()).norm() / exact.detach().norm())


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("size", "out"), SIZES)
@pytest.mark.parametrize("num", [1, 3, 70])
def test_it_is_the_convolution(
    dtype: torch.dtype, side: int, channels: tuple[int, int], size: tuple[int, int], out: tuple[int, int], num: int
) -> None:
    images, bias, weight = maps(num, channels[0], *size, dtype=dtype), draw(channels[1]), filters(*channels[::-1])
    found = convolve_transformed(images, transform_filters(weight, dtype, side=side), out, side=side, bias=bias)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert distance(found, plain(images, weight, out, bias=bias)) < TOLERANCE[dtype][side]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1), (1, 8), (7, 7), (8, 6), (9, 10), (16, 17)])
@pytest.mark.parametrize("num", [1, 2, 35])
def test_with_stride_2_it_is_the_convolution_and_its_gradients(
    dtype: torch.dtype, channels: tuple[int, int], size: tuple[int, int], num: int
) -> None:
    out = (-(-size[0] // 2), -(-size[1] // 2))
    images, weight = maps(num, channels[0], *size, dtype=dtype), filters(*channels[::-1])
    gradient = maps(num, channels[1], *out, dtype=dtype)
    leaves = [images.double().requires_grad_(), weight.double().requires_grad_()]
    exact = plain(leaves[0], leaves[1], out, 2)
    for_images, for_filters = torch.autograd.grad(exact, leaves, gradient.double())
    tolerance = TOLERANCE[dtype][HALVING]
    assert distance(convolve(images, weight, 2, out), exact) < tolerance
    assert distance(images_gradient(images, weight, gradient, 2), for_images) < tolerance
    assert distance(weight_gradient(images, gradient, 2), for_filters) < tolerance


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("size", "out"), [*((of, out) for of, out in SIZES if of >= out), ((1, 1), (1, 1))])
@pytest.mark.parametrize("num", [1, 2, 40])
def test_the_gradients_are_those_of_the_convolution(
    dtype: torch.dtype, channels: tuple[int, int], size: tuple[int, int], out: tuple[int, int], num: int
) -> None:
    images, weight = maps(num, channels[0], *size, dtype=dtype), filters(*channels[::-1])
    gradient = maps(num, channels[1], *out, dtype=dtype)
    leaves = [images.double().requires_grad_(), weight.double().requires_grad_()]
    for_images, for_filters = torch.autograd.grad(plain(leaves[0], leaves[1], out), leaves, gradient.double())
    tolerance = TOLERANCE[dtype][4]  # whichever tiles are chosen
    assert distance(convolve(images, weight, 1, out), plain(images, weight, out)) < tolerance
    assert distance(images_gradient(images, weight, gradient, 1), for_images) < tolerance
    found = weight_gradient(images, gradient, 1)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert distance(found, for_filters) < tolerance


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (2, 2), (10, 6), (6, 6)])
def test_pooled_it_gives_the_largest_of_each_window_its_place_and_the_sums(
    dtype: torch.dtype, side: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv3x3, "tile_side", lambda _: side)
    images, weight = maps(9, 24, *size, dtype=dtype), filters(32, 24)
    even = (size[0] // 2 * 2, size[1] // 2 * 2)
    output = convolve_transformed(images, transform_filters(weight, dtype, side=side), even, side=side)
    expected, where = F.max_pool2d(output.float(), 2, return_indices=True)
    pooled, places = torch.empty_like(expected, dtype=dtype), torch.empty_like(expected, dtype=torch.uint8)
    sums = torch.full((2, 32), 5.0, dtype=torch.float64)
    convolve_and_pool(images, weight, pooled, places, sums)
    # the two kernels may contract their sums differently
    rtol, atol = (2**-7 if dtype == torch.bfloat16 else 1e-5), 1e-4
    assert torch.allclose(pooled.float(), expected, rtol=rtol, atol=atol)
    values = pooled.double()
    assert torch.allclose(
        sums - 5, torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]), rtol=1e-5, atol=1e-4
    )
    row, column = where // even[1] % 2, where % even[1] % 2
    chosen = output.float().unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).gather(4, places.long()[..., None])[..., 0]
    assert torch.allclose(chosen, expected, rtol=rtol, atol=atol)
    if dtype == torch.float32:  # in bf16 two values can become equal in the output that are not in the kernel
        assert torch.equal(places.long(), 2 * row + column)


KINDS = [(2, False), (3, False), (4, False), (4, True), (HALVING, False)]
"""Kind of tiles, and whether filters are flipped."""


@pytest.mark.parametrize(("side", "flipped"), KINDS)
@pytest.mark.parametrize(("size", "apart"), [((8, 6), 1), ((8, 6), 2), ((5, 7), 2)])
def test_what_is_added_and_the_sums(
    dtype: torch.dtype, side: int, flipped: bool, size: tuple[int, int], apart: int
) -> None:
    images, weight = maps(5, 32, 5, 7, dtype=dtype), filters(32, 32)
    added = maps(5, 32, *(-(-length // apart) for length in size), dtype=dtype)
    sums = torch.full((2, 32), 5.0, dtype=torch.float64)
    found = convolve_fused(images, weight, size, side=side, flipped=flipped, added=added, sums=sums).double()
    alone = convolve_fused(images, weight, size, side=side, flipped=flipped).double()
    alone[:, :, ::apart, ::apart] += added
    assert distance(found, alone) < 4e-3  # of which each rounds once
    expected = torch.stack([found.sum((0, 2, 3)), found.square().sum((0, 2, 3))])
    assert torch.allclose(sums - 5, expected, rtol=5e-3, atol=2)  # of values before they are rounded


@pytest.mark.parametrize(("side", "flipped"), KINDS)
@pytest.mark.parametrize(("num", "channels_out"), [(5, 32), (1, 64)])
@pytest.mark.parametrize("adds", [False, True])
def test_through_a_gate_and_the_sums(
    dtype: torch.dtype, side: int, flipped: bool, num: int, channels_out: int, adds: bool
) -> None:
    size = (3, 2) if num == 1 else (8, 6)  # a single image goes by columns
    images = maps(num, 32, 5, 7, dtype=dtype)
    weight = filters(*((32, channels_out) if flipped else (channels_out, 32)))
    x, added = (maps(num, channels_out, *size, dtype=dtype) for _ in range(2))
    bits = torch.randint(2, (num, *size, channels_out), generator=GENERATOR)
    sums = torch.full((2, channels_out), 5.0, dtype=torch.float64)
    more = {"side": side, "flipped": flipped, "added": added if adds else None}
    found = convolve_fused(images, weight, size, gate=Gate(x, packed(bits)), sums=sums, **more)
    alone = convolve_fused(images, weight, size, **more)
    assert torch.equal(found, torch.where(bits.permute(0, 3, 1, 2) == 1, alone, 0))
    values = found.double()
    expected = torch.stack([values.sum((0, 2, 3)), (values * x).sum((0, 2, 3))])
    assert torch.allclose(sums - 5, expected, rtol=5e-3, atol=2)  # of values before they are rounded


def packed(bits: Tensor) -> Tensor:
    """Bits (N, H, W, C) as a mask: a number for each register."""
    numbers = (bits.long().unflatten(3, (-1, lanes())) << torch.arange(lanes())).sum(-1)
    return numbers.to(torch.int16 if lanes() == 16 else torch.uint8)


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
def test_of_images_in_front_of_a_norm_and_relu(
    dtype: torch.dtype, side: int, flipped: bool, num: int, size: tuple[int, int]
) -> None:
    x, weight, affine = maps(num, 48, *size, dtype=dtype), filters(64, 48), scale_and_shift(48)
    exact = plain(rectified(x.double(), affine.double()), weight, size)
    given = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last) if flipped else weight
    found = convolve_fused(x, given, size, side=side, affine=affine, flipped=flipped)
    assert distance(found, exact) < TOLERANCE[dtype][side]


@pytest.mark.parametrize("num", [1, 7, 40])
@pytest.mark.parametrize(("channels", "channels_out"), [(32, 32), (48, 96)])
@pytest.mark.parametrize("size", [(6, 6), (8, 8), (7, 8), (5, 5), (2, 2)])
def test_the_gradient_for_filters_behind_a_norm_and_relu(
    dtype: torch.dtype, num: int, channels: int, channels_out: int, size: tuple[int, int]
) -> None:
    x, gradient, affine = (
        maps(num, channels, *size, dtype=dtype),
        maps(num, channels_out, *size, dtype=dtype),
        scale_and_shift(channels),
    )
    weight = torch.zeros(channels_out, channels, 3, 3, dtype=torch.float64, requires_grad=True)
    output = plain(rectified(x.double(), affine.double()), weight, size)
    (expected,) = torch.autograd.grad(output, weight, gradient.double())
    assert distance(weight_gradient(x, gradient, 1, affine=affine), expected) < TOLERANCE[dtype][4]


@pytest.mark.parametrize("side", [2, 4, HALVING])
def test_a_gate_may_be_the_scale_and_shift_of_a_norm(dtype: torch.dtype, side: int) -> None:
    images, weight, affine = maps(5, 32, 16, 12, dtype=dtype), filters(64, 32), scale_and_shift(64)
    size = (8, 6) if side == HALVING else (16, 12)
    x = maps(5, 64, *size, dtype=dtype)
    passes = (rectified(x.double(), affine.double()) > 0).permute(0, 2, 3, 1)
    found, expected = (torch.zeros(2, 64, dtype=torch.float64) for _ in range(2))
    one = convolve_fused(images, weight, size, side=side, gate=Gate(x, None, affine), sums=found)
    other = convolve_fused(images, weight, size, side=side, gate=Gate(x, packed(passes)), sums=expected)
    assert torch.equal(one, other) and torch.equal(found, expected)
    with pytest.raises(ValueError, match="a gate needs a mask, or the affine"):
        convolve_fused(images, weight, size, side=side, gate=Gate(x, None))


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize(("num", "size"), [(1, (4, 4)), (3, (4, 4)), (13, (3, 5)), (67, (2, 3)), (67, (8, 9))])
def test_by_tiles_or_columns_it_is_the_same_as_by_transformed_filters(
    dtype: torch.dtype, side: int, num: int, size: tuple[int, int]
) -> None:
    images, weight = maps(num, 64, *size, dtype=dtype), filters(320, 64)
    num_tiles = num_products(size, side) // (side + 2) ** 2
    assert (num * num_tiles < 320) == (size != (8, 9))
    found = convolve_fused(images, weight, size, side=side)
    by_transformed = convolve_transformed(images, transform_filters(weight, dtype, side=side), size, side=side)
    assert torch.equal(found, by_transformed)
    other = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, convolve_fused(images, other, size, side=side, flipped=True))


def test_threads_share_the_images_and_change_nothing(dtype: torch.dtype) -> None:
    images, weight = maps(9, 32, 8, 8, dtype=dtype), filters(32, 32)
    gradient, before = maps(9, 32, 4, 4, dtype=dtype), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 16):
            torch.set_num_threads(threads)
            found.append((convolve(images, weight, 2, (4, 4)), images_gradient(images, weight, gradient, 2)))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert torch.equal(others[0], found[0][0])
        assert torch.equal(others[1], found[0][1])


@pytest.mark.parametrize("channels", [24, 128])
@pytest.mark.parametrize("side", [2, 7])
def test_filters_gradients_are_the_same_twice_and_nearly_the_same_with_another_number_of_threads(
    dtype: torch.dtype, side: int, channels: int
) -> None:
    """The many channels are divided between the threads, the few images of the others."""
    images = maps(9, channels, side, side, dtype=dtype)
    gradient = maps(9, 4 * channels // 3 // 32 * 32, side, side, dtype=dtype)
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


@pytest.mark.parametrize("is_rectified", [False, True])
def test_nan_stays_nan_within_its_tile(dtype: torch.dtype, is_rectified: bool) -> None:
    images = maps(2, 32, 8, 8, dtype=dtype)
    images[1, 5, 0, 0] = torch.nan
    affine = scale_and_shift(32) if is_rectified else None
    found = convolve_fused(images, filters(32, 32), (8, 8), side=4, affine=affine)
    assert found[0].isfinite().all() and found[1, :, :2, :2].isnan().all()
    assert found[1, :, 5:].isfinite().all()


def test_no_images_give_none(dtype: torch.dtype) -> None:
    assert convolve_fused(maps(0, 16, 4, 4, dtype=dtype), filters(32, 16), (4, 4), side=2).shape == (0, 32, 4, 4)


@pytest.mark.parametrize("mean", [0.0, 50.0, 5000.0])
def test_the_sums_keep_the_variance_beside_a_large_mean(mean: float) -> None:
    """Filters that pass an image on, so that the result's mean and deviation are the image's."""
    images = (draw(64, 32, 8, 8) + mean).contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(32, 32, 3, 3).contiguous(memory_format=torch.channels_last)
    weight[range(32), range(32), 1, 1] = 1
    sums = torch.zeros(2, 32, dtype=torch.float64)
    found = convolve_fused(images, weight, (8, 8), side=2, sums=sums).double()
    num = found.numel() // 32
    variance = sums[1] / num - (sums[0] / num) ** 2
    torch.testing.assert_close(variance, found.var((0, 2, 3), correction=0), rtol=1e-3, atol=0)


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
def test_tiles_are_as_large_as_needs_the_fewest_products(
    size: tuple[int, int], products: tuple[int, ...], side: int
) -> None:
    assert tuple(num_products(size, of) for of in (2, 3, 4)) == products
    assert tile_side(size) == side


def test_tiles_of_2x2_are_never_used_for_filters() -> None:
    sizes = [(height, width) for height in range(1, 65) for width in range(1, 65)]
    assert {tile_side(size) for size in sizes if conv3x3._tiles_are_faster(size)} == {3, 4}


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(16, 32, 3, padding=1), True),
        (nn.Conv2d(8, 32, 3, padding=1), False),
        (nn.Conv2d(18, 32, 3, padding=1), False),
        (nn.Conv2d(16, 40, 3, padding=1), False),
        (nn.Conv2d(16, 32, 3), False),
        (nn.Conv2d(16, 32, 3, 2, padding=1), True),
        (nn.Conv2d(16, 32, 3, 3, padding=1), False),
        (nn.Conv2d(16, 32, 3, (1, 2), padding=1), False),
        (nn.Conv2d(16, 32, 5, padding=1), False),
        (nn.Conv2d(64, 64, 3, padding=1, groups=2), False),
        (nn.Linear(16, 32), False),
    ],
)
def test_it_supports_plain_convolutions_with_channels_that_fill_registers(conv: nn.Module, expected: bool) -> None:
    assert supports(conv) == expected
