"""3×3 convolutions with fewer multiplications, after A. Lavin and S. Gray, arXiv 1509.09308, 2015.

A patch of outputs is computed from transformed inputs and filters, whose products are summed over the channels and
transformed back. Per patch and pair of channels, with the error of the result relative to its norm (torch in bf16:
2e-3, by rounding the inputs):

    outputs    multiplications    direct    error in bf16
    2×2              16             36          4e-3       in float32 as exact as torch
    3×3              25             81          6e-3
    4×4              36            144         1.1e-2

The error grows with the patch, since the transforms weight values by powers of the points at which two polynomials are
evaluated; winograd.h has the points (0, ±0.65, ±1.5 for 4×4 halve the error of the usual 0, ±1, ±2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.batch_norm import nhwc_shape
from cifarlab.kernels.library import SUFFIX

COLUMNS = 32  # channels_out that the kernel computes at once: two AVX-512 registers

# Kinds of patches besides the sides 2, 3 and 4: stride 2, and its gradient for the images; winograd.h has the same.
HALVING, DOUBLING = 0, 1
OUTPUTS = {2: 2, 3: 3, 4: 4, HALVING: 4, DOUBLING: 8}  # of a patch, per side
FILTERS = {2: 16, 3: 25, 4: 36, HALVING: 36, DOUBLING: 36}  # numbers into which the 9 taps of a filter are transformed

# Padding after the channels of a transformed filter. Without it, in bf16, the numbers of one filter lie a power of two
# apart and evict each other from the caches (256 × 256 channels: 0.18 ms to transform with it, 0.30 without).
UNUSED = {torch.float32: 0, torch.bfloat16: 2}

# Fewest pixels of an output map: a patch of 2×2 over a single pixel would make 16 products for one output.
SMALLEST_PIXELS = 4


class Gate(NamedTuple):
    """The ReLU that a gradient passes on the way back: where it was closed, the gradient becomes 0.

    x: (N, C, H, W), the input of the norm before that ReLU, like the gradient.
    mask: int16 (N, H, W, C / 16), one bit per value, lowest bit first; or None, and then
    affine: the norm's scale and shift, float32 (2, C), from which the sign is worked out again.
    """

    x: Tensor
    mask: Tensor | None
    affine: Tensor | None = None


def supports(conv: nn.Module, dtype: torch.dtype) -> bool:
    """Whether the kernel exists (with AVX-512; bf16 on CPUs with bf16 but without AMX) and takes this convolution."""
    # 16: one register of the input transform; 2: the bf16 instruction multiplies pairs; 32: COLUMNS.
    if not isinstance(conv, nn.Conv2d) or conv.in_channels < 16 or conv.in_channels % 2 or conv.out_channels % 32:
        return False
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    sizes = (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    return plain and sizes and library.has(f"winograd_{SUFFIX[dtype]}")


@cache
def patch_side(size: tuple[int, int], dtype: torch.dtype) -> int:
    """Outputs per side of a patch: in bf16 those with the fewest multiplications for this map, in float32 always 2.

    float32 is for predictions, which have to be exact. Where an even and an odd side need the same, the even one is
    taken: the windows of a 2×2 pool then lie within the patches.
    """
    # Even sides first, since min() keeps the first of equals.
    return min((2, 4, 3), key=lambda side: num_products(size, side)) if dtype == torch.bfloat16 else 2


def num_products(size: Sequence[int], side: int) -> int:
    """Multiplications per pair of channels for a map of this size, those of patches beyond its edge included."""
    return num_patches(size, side) * (side + 2) ** 2


def num_patches(size: Sequence[int], side: int) -> int:
    """Patches that cover a map of this size; side: 2, 3, 4, HALVING or DOUBLING."""
    return math.prod(-(-length // OUTPUTS[side]) for length in size)  # rounded up: the last ones reach beyond the edge


def transform_filters(weight: Tensor, dtype: torch.dtype, *, side: int = 2) -> Tensor:
    """Transform filters (channels_out, C, 3, 3), float32, for `convolve` with patches of this side.

    Returns (channels_out / 32, FILTERS[side], C + UNUSED[dtype], 32).
    """
    channels_out, channels = weight.shape[:2]
    # Per block of 32 columns and number a matrix (C, 32), the right-hand side of one matrix product.
    result = torch.empty(channels_out // COLUMNS, FILTERS[side], channels + UNUSED[dtype], COLUMNS, dtype=dtype)
    library.call(f"winograd_filters_{SUFFIX[dtype]}", _taps(weight), side, channels, channels_out, result)
    return result


def convolve(
    images: Tensor, filters: Tensor, size: Sequence[int], *, side: int = 2, bias: Tensor | None = None
) -> Tensor:
    """Map channels-last (N, C, H, W) to (N, channels_out, *size) with stride 1.

    The padding is 1 at the top and left, and whatever `size` asks for at the bottom and right. filters: transformed,
    for patches of this side, in the dtype of the images; bias: float32 (channels_out).
    """
    result = _empty(images, filters.shape[0] * COLUMNS, size)
    sizes = *nhwc_shape(images), *size, result.shape[1]
    library.call(f"winograd_{SUFFIX[images.dtype]}", images, filters, bias, side, *sizes, result)
    return result


def convolve_fused(
    images: Tensor,
    weight: Tensor,
    size: Sequence[int],
    *,
    side: int,
    affine: Tensor | None = None,
    flipped: bool = False,
    added: Tensor | None = None,
    gate: Gate | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """Map bf16 (N, C, H, W) with weight (channels_out, C, 3, 3), float32, and do what lies around the convolution.

    Everything that is fused saves a pass over memory. side: 2, 3, 4, HALVING or DOUBLING.
    affine: scale and shift, float32 (2, C), of a norm with ReLU that is applied while images are loaded; stride 1 only.
    flipped: use the filters rotated by 180° and from channels_out to C, which gives the gradient for the images.
    added: a map to add to the result; one with half the sides, rounded up, is added to every second pixel of every
    second row, as the gradient of a 1×1 convolution with stride 2.
    gate: a ReLU through which the result then passes back.
    sums: float64 (2, channels_out), to which the sums of the result and of its squares are added; behind a gate those
    of the result and of result · gate.x, as the norm's gradient needs them.
    """
    result = _empty(images, weight.shape[1] if flipped else len(weight), size)
    # The step with which `added` is spread over the result: 2 where it has half the sides.
    apart = 1 if added is None or added.shape[2:] == torch.Size(size) else 2
    fused = _taps(weight), int(flipped), added, apart, *(gate or (None, None, None)), side
    # The filters, which change in every step, are transformed within the call; where there are more of them than
    # patches, 32 at a time by the core that multiplies them (512 channels at 4 px: 5.3 -> 4.1 ms).
    library.call("winograd_by", images, affine, *fused, *nhwc_shape(images), *size, result.shape[1], result, sums)
    return result


def convolve_and_pool(
    images: Tensor, filters: Tensor, side: int, pooled: Tensor, indices: Tensor, sums: Tensor
) -> None:
    """Do what `convolve` does and pool 2×2, into `pooled` (N, channels_out, H / 2, W / 2); only that is written.

    indices: uint8, of the shape of `pooled`: which of its window's pixels holds the maximum. sums: float64 (2,
    channels_out), to which the sums of the pooled values and of their squares are added.
    """
    size = (2 * pooled.shape[2], 2 * pooled.shape[3])
    name = f"winograd_pool_{SUFFIX[images.dtype]}"
    library.call(name, images, filters, side, *nhwc_shape(images), *size, pooled.shape[1], pooled, indices, sums)


def _taps(weight: Tensor) -> Tensor:
    """Filters as (channels_out, 3, 3, C) in memory, which is how channels-last weights are stored already."""
    return weight.detach().contiguous(memory_format=torch.channels_last)


def _empty(images: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    return torch.empty((len(images), channels, *size), dtype=images.dtype, memory_format=torch.channels_last)
