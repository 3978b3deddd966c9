"""3×3 convolutions with fewer products: F(2×2, 3×3) of A. Lavin and S. Gray, arXiv 1509.09308, 2015.

In float32 the result is as exact as torch's; in bf16 its error is 1.3 times as large (3.1e-3 instead of 2.4e-3 of the
result's norm).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.library import SUFFIX

SMALLEST_PIXELS = 4
"""Of the output map: a single pixel is one product of 16."""


def fits(conv: nn.Module, dtype: torch.dtype) -> bool:
    """Whether the kernel is there (with AVX-512; for bf16 on CPUs with bf16 but without AMX), and takes this one."""
    if not isinstance(conv, nn.Conv2d) or conv.in_channels < 16 or conv.in_channels % 2 or conv.out_channels % 32:
        return False
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    sizes = (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    return plain and sizes and library.has(f"winograd_{SUFFIX[dtype]}")


def transformed(weight: Tensor, dtype: torch.dtype, *, turned: bool = False) -> Tensor:
    """The filters (channels_out, C, 3, 3), float32, as `convolve` wants them.

    turned: by half a turn and from channels_out to C, as the gradient for the images wants them.
    """
    order = (2, 3, 0, 1) if turned else (2, 3, 1, 0)
    taps = weight.detach().permute(order).contiguous()
    channels, channels_out = taps.shape[2:]
    result = torch.empty(16 * channels * channels_out, dtype=dtype)
    library.call(f"winograd_filters_{SUFFIX[dtype]}", taps, channels, channels_out, int(turned), result)
    return result


def convolve(images: Tensor, filters: Tensor, bias: Tensor, size: tuple[int, int]) -> Tensor:
    """Map channels-last (N, C, H, W) to (N, channels_out, *size): stride 1, padding 1 or as much as `size` asks for.

    filters: of the type of the images; bias: float32 (channels_out).
    """
    num, channels, height, width = images.shape
    shape = (num, len(bias), *size)
    result = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
    name = f"winograd_{SUFFIX[images.dtype]}"
    library.call(name, images, filters, bias, num, height, width, channels, *size, len(bias), result)
    return result


def convolve_and_pool(images: Tensor, filters: Tensor, pooled: Tensor, places: Tensor, sums: Tensor) -> None:
    """The same pooled 2×2, into `pooled` (N, channels_out, H / 2, W / 2), without bias.

    places: uint8 as pooled, for where in its window each value was found; sums: float64 (2, channels_out), to which the
    sums of the pooled values and of their squares are added.
    """
    num, channels, height, width = images.shape
    channels_out, size = pooled.shape[1], (2 * pooled.shape[2], 2 * pooled.shape[3])
    name = f"winograd_pool_{SUFFIX[images.dtype]}"
    library.call(name, images, filters, num, height, width, channels, *size, channels_out, pooled, places, sums)
