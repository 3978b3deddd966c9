"""3×3 convolutions with padding 1 and fewer multiplications, after A. Lavin and S. Gray, arXiv 1509.09308, 2015.

A tile of outputs is computed from transformed inputs and filters, whose products are summed over the channels and
transformed back; the gradient for the images is such a convolution too, and that for the filters its transpose. Per
tile and pair of channels, with the error of the result relative to its norm (torch in bf16: 2e-3, by rounding the
inputs; in float32: 2e-7):

    outputs          multiplications    direct    error in bf16    in float32
    2×2                    16             36          4e-3            2e-7
    3×3                    25             81          6e-3            4e-7
    4×4                    36            144         1.1e-2           7e-7
    4×4, stride 2          81            144          5e-3            4e-7

The error grows with the tile, since the transforms weight values by powers of the points at which two polynomials are
evaluated; winograd.h has the points (0, ±0.65, ±1.5 for 4×4 halve the error of the usual 0, ±1, ±2). With stride 2
every second value meets the two outer taps, as in a convolution of two taps, and those between meet the middle tap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels import build
from cifarlab.kernels.ops.batch_norm import SUFFIX, channel_sums, lanes, nhwc_shape
from cifarlab.kernels.ops.norm_relu import affine_relu
from cifarlab.kernels.signatures import FILTERS, UNUSED

Size = tuple[int, int]

# Kinds of tiles besides those of 2, 3 and 4 outputs per side: stride 2, and its gradient for the images; as winograd.h.
HALVING, DOUBLING = 0, 1
OUTPUTS = {2: 2, 3: 3, 4: 4, HALVING: 4, DOUBLING: 8}  # of a tile, per side
POINTS = {2: 4, 3: 5, 4: 6, HALVING: 9, DOUBLING: 9}  # numbers into which a tile is transformed, per side

FEWEST_CHANNELS = 16  # the transforms process up to 16 at once, one register
# What channels_out are a multiple of: two AVX-512 registers. The same on every CPU, so that a network that runs on the
# kernels does so everywhere.
COLUMNS = 32

# Fewest pixels of an output map: a tile of 2×2 over a single pixel would make 16 products for one output.
SMALLEST_PIXELS = 4


class Gate(NamedTuple):
    """The ReLU that a gradient passes on the way back: where it was closed, the gradient becomes 0.

    x: (N, C, H, W), the input of the norm before that ReLU, like the gradient.
    mask: one bit per value as `norm_relu.empty_mask` makes them; or None, and then
    affine: the norm's scale and shift, float32 (2, C), from which the sign is worked out again.
    """

    x: Tensor
    mask: Tensor | None
    affine: Tensor | None = None


def supports(conv: nn.Module, *, strides: Sequence[int] = (1, 2)) -> bool:
    """Whether there are kernels for this convolution: 3×3 with padding 1 and enough channels."""
    if not isinstance(conv, nn.Conv2d) or conv.stride[0] != conv.stride[1]:
        return False
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    sizes = conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.stride[0] in strides
    # 8: rows of the filters' gradient, whose sums stay in registers
    enough = conv.in_channels >= FEWEST_CHANNELS and conv.in_channels % 8 == 0 and conv.out_channels % COLUMNS == 0
    return plain and sizes and enough


def out_size(images: Tensor, stride: int) -> Size:
    """The output size of a 3×3 convolution with padding 1 on (N, C, H, W): each side divided, rounded up."""
    return -(-images.shape[2] // stride), -(-images.shape[3] // stride)


@cache
def tile_side(size: Size) -> int:
    """Outputs per side of the tiles with the fewest multiplications for this map, of equals the even side.

    The windows of a 2×2 pool then lie within the tiles.
    """
    return min((2, 4, 3), key=lambda side: num_products(size, side))  # min() keeps the first of equals


def num_products(size: Sequence[int], side: int) -> int:
    """Multiplications per pair of channels for a map of this size, those of tiles beyond its edge included."""
    # Rounded up: the last tiles reach beyond the edge.
    return math.prod(-(-length // OUTPUTS[side]) for length in size) * POINTS[side] ** 2


@cache
def halving_pays(size: Size) -> bool:
    """Whether tiles take fewer multiplications than all nine taps for a map of this size at stride 2."""
    return num_products(size, HALVING) < 9 * math.prod(size)  # of 1×1 outputs 81 for the 9 that count


def convolve(
    images: Tensor,
    weight: Tensor,
    stride: int,
    size: Size,
    *,
    affine: Tensor | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """Map (N, C, H, W), bf16 or float32, to (N, channels_out, *size); weight: float32 (channels_out, C, 3, 3).

    size: at stride 1 it may be smaller than the images, which leaves out the last rows and columns. affine, sums: as in
    `convolve_fused`; affine at stride 1 only.
    """
    if stride == 2 and halving_pays(size):
        return convolve_fused(images, weight, size, side=HALVING, sums=sums)
    if stride == 1 and math.prod(size) >= SMALLEST_PIXELS:
        return convolve_fused(images, weight, size, side=tile_side(size), affine=affine, sums=sums)
    # torch's own convolution for the rest, such as maps of a single pixel, and what is fused above one by one.
    images = images if affine is None else affine_relu(images, affine)
    output = F.conv2d(images, weight.to(images.dtype), stride=stride, padding=1)
    if output.shape[2:] != size:
        output = output[:, :, : size[0], : size[1]]
    output = output.contiguous(memory_format=torch.channels_last)
    if sums is not None:
        sums += channel_sums(output)
    return output


def images_gradient(
    images: Tensor,
    weight: Tensor,
    gradient: Tensor,
    stride: int,
    *,
    added: Tensor | None = None,
    gate: Gate | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """Return the gradient for the images: at stride 1 a convolution of `gradient` with the filters rotated by 180°.

    added: a gradient to add to every `stride`-th pixel; gate, sums: as in `convolve_fused`.
    """
    channels, size = images.shape[1], (images.shape[2], images.shape[3])
    halves = stride == 2 and halving_pays((gradient.shape[2], gradient.shape[3]))
    # Backwards the images' channels are the outputs, so they have to fill the kernel's columns.
    if channels % COLUMNS == 0 and (halves or (stride == 1 and math.prod(size) >= SMALLEST_PIXELS)):
        side = DOUBLING if halves else tile_side(size)  # along each axis four values of the gradient become eight
        fused = {"added": added, "gate": gate, "sums": sums}
        return convolve_fused(gradient, weight, size, side=side, flipped=True, **fused)  # type: ignore[arg-type]
    # The mask at the end asks for the images' gradient only; that for the filters has a kernel of its own.
    found = _torch_gradients(images, weight, gradient, stride, [True, False, False])[0]
    if added is not None:
        found[:, :, ::stride, ::stride] += added
    return found if gate is None else _apply_gate(gate, found, sums)


def weight_gradient(images: Tensor, gradient: Tensor, stride: int, *, affine: Tensor | None = None) -> Tensor:
    """Return the gradient for filters (channels_out, C, 3, 3), float32 and channels-last.

    images: (N, C, H, W); gradient: (N, channels_out, H', W'), of one dtype. affine: scale and shift, float32 (2, C), of
    a norm with ReLU that is applied to the images first, at stride 1.
    """
    num, channels, height, width = images.shape
    channels_out, size = gradient.shape[1], (gradient.shape[2], gradient.shape[3])
    if _tiles_are_faster(size) if stride == 1 else halving_pays(size):
        result = torch.empty(channels_out, channels, 3, 3, dtype=torch.float32, memory_format=torch.channels_last)
        side = tile_side(size) if stride == 1 else HALVING
        name = f"winograd_weight_gradient_{SUFFIX[images.dtype]}"
        build.call(name, images, affine, gradient, side, num, height, width, channels, *size, channels_out, result)
        return result
    images = images if affine is None else affine_relu(images, affine)
    if math.prod(size) > SMALLEST_PIXELS:
        weight = images.new_empty(channels_out, channels, 3, 3)  # its values do not matter
        found = _torch_gradients(images, weight, gradient, stride, [False, True, False])[1]
    else:  # torch takes ten times as long on such maps as the sum over all pixels as one product of matrices
        windows = F.unfold(images, 3, padding=1, stride=stride).view(num, channels * 9, *out_size(images, stride))
        windows = windows[:, :, : size[0], : size[1]]
        found = torch.einsum("nohw,nrhw->or", gradient, windows).view(channels_out, channels, 3, 3)
    return found.to(torch.float32, memory_format=torch.channels_last)


def transform_filters(weight: Tensor, dtype: torch.dtype, *, side: int = 2) -> Tensor:
    """Transform filters (channels_out, C, 3, 3), float32, for `convolve_transformed` with tiles of this side.

    Returns (channels_out, FILTERS[side], C + UNUSED[dtype]) numbers, in the order in which the kernel reads them.
    """
    channels_out, channels = weight.shape[:2]
    result = torch.empty(channels_out, FILTERS[side], channels + UNUSED[dtype], dtype=dtype)
    build.call(f"winograd_filters_{SUFFIX[dtype]}", _taps(weight), side, channels, channels_out, result)
    return result


def convolve_transformed(
    images: Tensor, filters: Tensor, size: Sequence[int], *, side: int = 2, bias: Tensor | None = None
) -> Tensor:
    """Map channels-last (N, C, H, W) to (N, channels_out, *size) with stride 1, by filters that no longer change.

    The padding is 1 at the top and left, and whatever `size` asks for at the bottom and right. filters: transformed,
    for tiles of this side, in the dtype of the images; bias: float32 (channels_out).
    """
    result = _empty(images, len(filters), size)
    sizes = *nhwc_shape(images), *size, result.shape[1]
    build.call(f"winograd_{SUFFIX[images.dtype]}", images, filters, bias, side, *sizes, result)
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
    """Map (N, C, H, W) with weight (channels_out, C, 3, 3), float32, and do what lies around the convolution.

    Everything that is fused saves a pass over memory. side: 2, 3, 4, HALVING or DOUBLING.
    affine: scale and shift, float32 (2, C), of a norm with ReLU that is applied while images are loaded; stride 1 only.
    flipped: use the filters rotated by 180° and from channels_out to C, which gives the gradient for the images.
    added: a map to add to the result; one with half the sides, rounded up, is added to every second pixel of every
    second row, as the gradient of a 1×1 convolution with stride 2.
    gate: a ReLU through which the result then passes back.
    sums: float64 (2, channels_out), to which the sums of the result and of its squares are added; behind a gate those
    of the result and of result · gate.x, as the norm's gradient needs them.

    Raises ValueError for a gate with neither mask nor affine: nothing would say where it was closed.
    """
    if gate is not None and gate.mask is None and gate.affine is None:
        raise ValueError("a gate needs a mask, or the affine of the norm before its ReLU")
    result = _empty(images, weight.shape[1] if flipped else len(weight), size)
    # The step with which `added` is spread over the result: 2 where it has half the sides.
    apart = 1 if added is None or added.shape[2:] == torch.Size(size) else 2
    fused = _taps(weight), int(flipped), added, apart, *(gate or (None, None, None)), side
    name = f"winograd_by_{SUFFIX[images.dtype]}"
    # The filters, which change in every step, are transformed within the call; where there are more of them than
    # tiles, a few at a time by the core that multiplies them (512 channels at 4 px: 5.3 -> 4.1 ms).
    build.call(name, images, affine, *fused, *nhwc_shape(images), *size, result.shape[1], result, sums)
    return result


def convolve_and_pool(images: Tensor, weight: Tensor, pooled: Tensor, indices: Tensor, sums: Tensor) -> None:
    """Convolve and pool 2×2, into `pooled` (N, channels_out, H / 2, W / 2); only that is written.

    indices: uint8, of the shape of `pooled`: which of its window's pixels holds the maximum. sums: float64 (2,
    channels_out), to which the sums of the pooled values and of their squares are added.
    """
    size = (2 * pooled.shape[2], 2 * pooled.shape[3])  # an odd last row and column are left out, as the pool does
    filters = transform_filters(weight, images.dtype, side=tile_side(size))
    name = f"winograd_pool_{SUFFIX[images.dtype]}"
    shape = *nhwc_shape(images), *size, pooled.shape[1]
    build.call(name, images, filters, tile_side(size), *shape, pooled, indices, sums)


@cache
def _tiles_are_faster(size: Size) -> bool:
    """Whether tiles take less than two thirds of the direct multiplications of the filters' gradient at stride 1.

    Those of 2×2 never do.
    """
    # Directly, neighbours beyond the edge are left out: 3 · length - 2 per axis instead of 3 · length.
    # Two thirds, because transforming images and gradients has to be paid for as well.
    return 3 * num_products(size, tile_side(size)) < 2 * math.prod(3 * length - 2 for length in size)


def _torch_gradients(
    images: Tensor, weight: Tensor, gradient: Tensor, stride: int, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    height, width = out_size(images, stride)  # outputs that were left out have gradient zero
    gradient = F.pad(gradient, (0, width - gradient.shape[3], 0, height - gradient.shape[2]))
    strides, ones = [stride] * 2, [1, 1]
    weight = weight.to(images.dtype)
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, strides, ones, ones, False, [0, 0], 1, wanted
    )
    return found


def _apply_gate(gate: Gate, gradient: Tensor, sums: Tensor | None) -> Tensor:
    """Pass a gradient through a gate and add it up, as `convolve_fused` does, with torch's operations."""
    if gate.mask is None:
        assert gate.affine is not None
        # No mask was written: the ReLU is worked out again from the norm's input.
        opened = affine_relu(gate.x, gate.affine) > 0
    else:
        # Unpack the channels of each number: (N, H, W, C / lanes) -> (N, H, W, C / lanes, lanes) -> (N, C, H, W).
        bits = gate.mask[..., None] >> torch.arange(lanes(), dtype=gate.mask.dtype) & 1
        opened = bits.flatten(3).permute(0, 3, 1, 2)
    gradient = (gradient * opened).to(gate.x.dtype).contiguous(memory_format=torch.channels_last)
    if sums is not None:
        # Over N, H and W: float64 (2, C), of the gradient and of its products with the norm's input.
        sums += torch.stack([gradient.double(), gradient.double() * gate.x]).sum((1, 3, 4))
    return gradient


def _taps(weight: Tensor) -> Tensor:
    """Filters as (channels_out, 3, 3, C) in memory, which is how channels-last weights are stored already."""
    return weight.detach().contiguous(memory_format=torch.channels_last)


def _empty(images: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    return torch.empty((len(images), channels, *size), dtype=images.dtype, memory_format=torch.channels_last)
