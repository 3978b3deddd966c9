"""3×3 convolutions with fewer products, after A. Lavin and S. Gray, arXiv 1509.09308, 2015.

Patches of 2×2 outputs need 16 products in the place of 36: in float32 as exactly as torch, in bf16 with an error of
4e-3 of the result's norm (torch: 2e-3). Patches of 3×3 need 25 in the place of 81, with an error of 6e-3, patches of
4×4 need 36 in the place of 144, with 1.1e-2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.library import SUFFIX

COLUMNS = 32
"""Channels_out that the kernel takes at once."""
HALVING, DOUBLING = 0, 1
"""In the place of a patch's side: stride 2, and its gradient for the images."""
OUTPUTS = {2: 2, 3: 3, 4: 4, HALVING: 4, DOUBLING: 8}
"""Of a patch, per side."""
FILTERS = {2: 16, 3: 25, 4: 36, HALVING: 36, DOUBLING: 36}
"""Numbers that the 3×3 taps of a filter become."""
UNUSED = {torch.float32: 0, torch.bfloat16: 2}
"""Channels behind the filters' own; winograd_filters.h says why."""
SMALLEST_PIXELS = 4
"""Of the output map: a single pixel is one product of 16."""


class Gate(NamedTuple):
    """What a gradient meets behind ReLU of a norm of x: there it ends where ReLU let nothing pass.

    x: (N, C, H, W), like the gradient. passed: int16 (N, H, W, C / 16), one bit for each number, from the lowest on; or
    None, and affine the scale and shift of x that say the same, float32 (2, C).
    """

    x: Tensor
    passed: Tensor | None
    affine: Tensor | None = None


def fits(conv: nn.Module, dtype: torch.dtype) -> bool:
    """Whether the kernel is there (with AVX-512; for bf16 on CPUs with bf16 but without AMX), and takes this one."""
    if not isinstance(conv, nn.Conv2d) or conv.in_channels < 16 or conv.in_channels % 2 or conv.out_channels % 32:
        return False
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    sizes = (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    return plain and sizes and library.has(f"winograd_{SUFFIX[dtype]}")


@cache
def patch_side(size: tuple[int, int], dtype: torch.dtype) -> int:
    """Outputs per side of a patch: in bf16 what needs the fewest products for a map of this size, in float32 always 2.

    Of two that need the same it is the one with an even side, within whose patches a pool's windows lie.
    """
    return min((2, 4, 3), key=lambda side: num_products(size, side)) if dtype == torch.bfloat16 else 2


def num_products(size: Sequence[int], side: int) -> int:
    """For a map of this size, patches that reach beyond it included."""
    return num_patches(size, side) * (side + 2) ** 2


def num_patches(size: Sequence[int], side: int) -> int:
    """That cover a map of this size; side: of the patches, HALVING or DOUBLING."""
    return math.prod(-(-length // OUTPUTS[side]) for length in size)


def transformed(weight: Tensor, dtype: torch.dtype, *, side: int = 2) -> Tensor:
    """The filters (channels_out, C, 3, 3), float32, as `convolve` wants them for patches of this side.

    That is (channels_out / 32, numbers, C + UNUSED, 32).
    """
    channels_out, channels = weight.shape[:2]
    result = torch.empty(channels_out // COLUMNS, FILTERS[side], channels + UNUSED[dtype], COLUMNS, dtype=dtype)
    library.call(f"winograd_filters_{SUFFIX[dtype]}", _taps(weight), side, channels, channels_out, result)
    return result


def convolve(
    images: Tensor, filters: Tensor, size: Sequence[int], *, side: int = 2, bias: Tensor | None = None
) -> Tensor:
    """Map channels-last (N, C, H, W) to (N, channels_out, *size): stride 1, padding 1 or as much as `size` asks for.

    filters: of the type of the images, for patches of this side; bias: float32 (channels_out).
    """
    result = _empty(images, filters.shape[0] * COLUMNS, size)
    sizes = *_sizes(images), *size, result.shape[1]
    library.call(f"winograd_{SUFFIX[images.dtype]}", images, filters, bias, side, *sizes, result)
    return result


def convolve_by(
    images: Tensor,
    weight: Tensor,
    size: Sequence[int],
    *,
    side: int,
    affine: Tensor | None = None,
    turned: bool = False,
    added: Tensor | None = None,
    gate: Gate | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """The same in bf16 by weight (channels_out, C, 3, 3), float32; side: of the patches, HALVING or DOUBLING.

    affine: scale and shift, float32 (2, C), of a norm that the images are in front of, and ReLU behind it; stride 1.
    turned: by the filters turned by half a turn and from channels_out to C, as the gradient for the images wants them.
    added: like the result, to be added to it, or with half its sides, rounded up, to be added to every second pixel of
    every second row. sums: float64 (2, channels_out), to which those of the result and of its squares are added, or
    behind a gate those of its products with the gate's x.
    """
    result = _empty(images, weight.shape[1] if turned else len(weight), size)
    how = _taps(weight), int(turned), *_added(added, size), *_gate(gate), side
    library.call("winograd_by", images, affine, *how, *_sizes(images), *size, result.shape[1], result, sums)
    return result


def convolve_and_pool(images: Tensor, filters: Tensor, side: int, pooled: Tensor, places: Tensor, sums: Tensor) -> None:
    """As `convolve`, pooled 2×2, into `pooled` (N, channels_out, H / 2, W / 2).

    places: uint8 as pooled, for where in its window each value was found; sums: float64 (2, channels_out), to which the
    sums of the pooled values and of their squares are added.
    """
    size = (2 * pooled.shape[2], 2 * pooled.shape[3])
    name = f"winograd_pool_{SUFFIX[images.dtype]}"
    library.call(name, images, filters, side, *_sizes(images), *size, pooled.shape[1], pooled, places, sums)


def _taps(weight: Tensor) -> Tensor:
    return weight.detach().contiguous(memory_format=torch.channels_last)


def _empty(images: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    return torch.empty((len(images), channels, *size), dtype=images.dtype, memory_format=torch.channels_last)


def _sizes(images: Tensor) -> tuple[int, int, int, int]:
    num, channels, height, width = images.shape
    return num, height, width, channels


def _added(added: Tensor | None, size: Sequence[int]) -> tuple[Tensor | None, int]:
    """And how far apart the pixels are that it is added to."""
    return added, 1 if added is None or added.shape[2:] == torch.Size(size) else 2


def _gate(gate: Gate | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    return gate or (None, None, None)
