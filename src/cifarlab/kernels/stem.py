"""The first layer of a ResNet, a 3×3 convolution of three channels, and the gradients for it and the norm behind it.

The images need no gradient. So dx of the norm is only needed for the gradient of the filters, into which it goes
directly: it is never written to memory. Backward takes 1.5 ms instead of 3.2 for 128 images (measured 2026-11-26).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.batch_norm import Statistics, empty_gradients, nhwc_shape
from cifarlab.kernels.winograd import COLUMNS

CHANNELS = 3


def supports(images: Tensor, conv: nn.Conv2d) -> bool:
    """Whether there are kernels for this convolution of float32 images (N, 3, H, W) that need no gradient."""
    shape = conv.in_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation
    fits = shape == (CHANNELS, (3, 3), (1, 1), (1, 1), (1, 1)) and conv.out_channels % COLUMNS == 0
    fits = fits and conv.groups == 1 and conv.bias is None
    plain = images.device.type == "cpu" and images.dtype == torch.float32 and not images.requires_grad
    # Images that need a gradient go through torch's own convolution, since this one computes none for them.
    return fits and plain and library.has("stem")  # like all bf16 kernels not built for CPUs with AMX


def convolve(images: Tensor, weight: Tensor, *, sums: Tensor) -> Tensor:
    """Map (N, 3, H, W) with weight (channels_out, 3, 3, 3), both float32, to (N, channels_out, H, W) in bf16.

    sums: float64 (2, channels_out), to which the sums of the result and of its squares are added.
    """
    num, height, width, _ = nhwc_shape(images)
    shape = num, len(weight), height, width
    result = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)
    filters = weight.detach().permute(2, 3, 1, 0).contiguous()  # (3, 3, 3, channels_out): channels_out fill registers
    library.call("stem", images, filters, num, height, width, len(weight), result, sums)
    return result


def gradients(images: Tensor, gradient: Tensor, x: Tensor, stats: Statistics, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients for the filters, float32 (channels_out, 3, 3, 3), and for the norm's parameters (2, C).

    gradient: with respect to the norm's output; x: the norm's input; sums: of gradient and gradient · x.
    """
    num, height, width, channels_out = nhwc_shape(x)
    # float64: sums over all pixels of all images, here 131,072 of them for a batch of 128
    result, parameter_gradients = torch.zeros(3, 3, CHANNELS, channels_out, dtype=torch.float64), empty_gradients(sums)
    sizes = num, height, width, channels_out
    library.call("stem_gradient", images, gradient, x, *sizes, sums, *stats, parameter_gradients, result)
    # From (3, 3, 3, channels_out) to the order of the weight; channels-last, as the weight is stored.
    return result.permute(3, 2, 0, 1).to(torch.float32, memory_format=torch.channels_last), parameter_gradients
