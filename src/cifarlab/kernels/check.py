"""What the kernels compute on this CPU, compared once, when they have been compiled, with torch's own operations.

A compiler may be wrong, and so may a kernel on a CPU on which nobody has tried it. Small shapes show that in some
milliseconds, and a training then does without kernels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.console import some
from cifarlab.errors import NoKernelsError
from cifarlab.kernels import build
from cifarlab.kernels.ops import conv3x3
from cifarlab.kernels.ops.batch_norm import SUFFIX
from cifarlab.kernels.ops.norm_relu import norm_relu
from cifarlab.kernels.ops.pool_norm_gelu import pool_norm_gelu
from cifarlab.language import tr, translatable

# Largest error as a share of the largest value: several times what rounding does to a right kernel, and far below what
# a wrong one gives. ops/conv3x3.py has the usual errors.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 0.05}

# Sides and strides for tiles of 4×4, 3×3 and 2×2 outputs, and those of stride 2; with 7, tiles reach beyond the edge.
MAPS = ((7, 1), (6, 1), (2, 1), (7, 2))


@torch.enable_grad()
def check() -> None:
    """Raise NoKernelsError, naming them, if loaded kernels compute something else than torch does."""
    wrong = []
    for dtype, tolerance in TOLERANCES.items():
        for name, found, expected in _results(dtype):
            error = (found.double() - expected.double()).abs().max() / expected.abs().max()
            if not error < tolerance:  # also where it is not a number
                wrong.append(f"{name} in {SUFFIX[dtype]} by {error:.1g}")
    if wrong:
        message = translatable(
            "The CPU kernels compute wrong values on this CPU: {kernels}.\n"
            "Please report this, with the CPU and the compiler. --set runtime.kernels=off does without them."
        )
        kernels = some(wrong)  # named in English in every language, since it is to be reported
        raise NoKernelsError(tr(message, kernels=kernels), message.format(kernels=kernels))


def _results(dtype: torch.dtype) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What was computed, the kernels' result, and the expected one, which is computed in float32."""
    if build.has(f"winograd_by_{SUFFIX[dtype]}"):
        for side, stride in MAPS:
            yield from _convolution(dtype, side, stride)
    if build.has(f"rectified_{SUFFIX[dtype]}"):
        yield from _norms(dtype)


def _convolution(dtype: torch.dtype, side: int, stride: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    random = _random()
    images, weight = _maps(dtype, random, 3, 32, side, side), _maps(torch.float32, random, 64, 32, 3, 3)
    size = conv3x3.out_size(images, stride)
    gradient = _maps(dtype, random, 3, 64, *size)
    plain = images.detach().float().requires_grad_(), weight.detach().requires_grad_()
    expected = F.conv2d(*plain, None, stride, 1)
    expected_gradients = torch.autograd.grad(expected, plain, gradient.float())
    yield "a convolution", conv3x3.convolve(images, weight, stride, size), expected.detach()
    yield "the images' gradient", conv3x3.images_gradient(images, weight, gradient, stride), expected_gradients[0]
    yield "the filters' gradient", conv3x3.weight_gradient(images, gradient, stride), expected_gradients[1]


def _norms(dtype: torch.dtype) -> Iterator[tuple[str, Tensor, Tensor]]:
    norm, random = nn.BatchNorm2d(32, dtype=torch.float32), _random()
    x, gradient = _maps(dtype, random, 3, 32, 6, 6).requires_grad_(), _maps(dtype, random, 3, 32, 6, 6)
    for name, kernel, activation in (
        ("a norm with ReLU", norm_relu(x, norm), F.relu),
        ("a norm with GELU", pool_norm_gelu(x, norm, pool=False), F.gelu),
    ):
        plain = x.detach().float().requires_grad_()
        expected = activation(F.batch_norm(plain, None, None, training=True))
        yield name, kernel.detach(), expected.detach()
        (found_gradient,) = torch.autograd.grad(kernel, x, gradient)
        (expected_gradient,) = torch.autograd.grad(expected, plain, gradient.float())
        yield f"the gradient of {name}", found_gradient, expected_gradient


def _random() -> torch.Generator:
    """Random numbers of its own, so that those of the process stay as they are."""
    return torch.Generator().manual_seed(0)


def _maps(dtype: torch.dtype, random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float32).to(dtype, memory_format=torch.channels_last)
