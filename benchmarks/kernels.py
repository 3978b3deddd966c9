"""Our kernels for CPUs against torch's own operations, at the sizes that `speed` and `resnet18` have with 32 px.

    python benchmarks/kernels.py [--images 500] [--rounds 9]

Convolutions with stride 2 are those of `resnet18`, with a quarter of the images. Both sides take turns; prints the
medians in milliseconds and their ratio. bf16, as in training.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.kernels import strided, winograd
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.kernels.pool_norm_gelu import norm_add_gelu, pool_norm_gelu
from cifarlab.kernels.weight_gradient import weight_gradient
from cifarlab.machine import process
from cifarlab.models.speednet import Norm
from cifarlab.recipe.schema import RuntimeSpec

CONVOLUTIONS = (
    (24, 64, 31, 30),
    (64, 64, 15, 15),
    (64, 192, 15, 14),
    (192, 192, 7, 7),
    (192, 256, 7, 6),
    (256, 256, 3, 3),
)
"""Channels, channels_out, side, side of the output."""
STRIDED = ((64, 128, 32), (128, 256, 16), (256, 512, 8))
"""Channels, channels_out, side."""
TAILS = ((64, 30, True), (64, 15, False), (192, 14, True), (192, 7, False), (256, 6, True), (256, 3, False))
"""Channels, side, whether a pool comes first."""


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape).bfloat16().contiguous(memory_format=torch.channels_last)


def compare(name: str, ours: Callable[[], object], torchs: Callable[[], object], rounds: int) -> None:
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * rounds + 2):
        mine = number % 2 == 0
        start = time.perf_counter()
        (ours if mine else torchs)()
        times[mine].append(time.perf_counter() - start)
    own, other = (1000 * median(values[1:]) for values in (times[True], times[False]))
    print(f"{name:44}  {own:6.2f}  {other:6.2f}  {own / other:5.2f}", flush=True)


def compare_convolution(num: int, channels: int, channels_out: int, side: int, out: int, rounds: int) -> None:
    """Forward, the gradient for the images, and the one for the filters."""
    images, gradient = maps(num, channels, side, side), maps(num, channels_out, out, out)
    weight = torch.randn(channels_out, channels, 3, 3)
    rounded = weight.bfloat16().contiguous(memory_format=torch.channels_last)
    margin = 1 - (side - out)
    padded = F.pad(images, (1, margin, 1, margin))
    shape = f"{channels} -> {channels_out}, {side} -> {out} px"

    def backward(wanted: list[bool]) -> object:
        how: tuple[object, ...] = (None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted)
        return torch.ops.aten.convolution_backward(gradient, padded, rounded, *how)

    def forward() -> Tensor:
        patch_side = winograd.patch_side((out, out), images.dtype)
        return winograd.convolve_fused(images, weight, (out, out), side=patch_side)

    def for_images() -> Tensor:
        patch_side = winograd.patch_side((side, side), images.dtype)
        return winograd.convolve_fused(gradient, weight, (side, side), side=patch_side, flipped=True)

    compare(f"forward {shape}", forward, lambda: F.conv2d(F.pad(images, (1, margin, 1, margin)), rounded), rounds)
    if channels % 32 == 0:
        compare(f"for images {shape}", for_images, lambda: backward([True, False, False]), rounds)
    compare(
        f"for filters {shape}",
        lambda: weight_gradient(images, gradient, 1),
        lambda: backward([False, True, False]),
        rounds,
    )


def compare_strided(num: int, channels: int, channels_out: int, side: int, rounds: int) -> None:
    """The same with stride 2."""
    images, gradient = maps(num, channels, side, side), maps(num, channels_out, side // 2, side // 2)
    weight = torch.randn(channels_out, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    shape = f"{channels} -> {channels_out}, {side} -> {side // 2} px"

    def backward(wanted: list[bool]) -> object:
        how: tuple[object, ...] = (None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, wanted)
        return torch.ops.aten.convolution_backward(gradient, images, weight.bfloat16(), *how)

    def forward() -> Tensor:
        return F.conv2d(images, weight.bfloat16(), stride=2, padding=1)

    compare(f"forward {shape}", lambda: strided.convolve(images, weight), forward, rounds)
    compare(
        f"for images {shape}",
        lambda: strided.images_gradient(weight, gradient, (side, side)),
        lambda: backward([True, False, False]),
        rounds,
    )
    compare(
        f"for filters {shape}",
        lambda: weight_gradient(images, gradient, 2),
        lambda: backward([False, True, False]),
        rounds,
    )


def compare_tail(num: int, channels: int, side: int, pool: bool, rounds: int) -> None:
    """Forward and backward of (pool,) norm and GELU."""
    x, norm = maps(num, channels, side, side).requires_grad_(), Norm(channels)
    upstream = maps(num, channels, side // 2 if pool else side, side // 2 if pool else side)

    def ours() -> object:
        return torch.autograd.grad(pool_norm_gelu(x, norm, pool=pool), (x, norm.bias), upstream)

    def torchs() -> object:
        output = F.gelu(norm(F.max_pool2d(x, 2) if pool else x))
        return torch.autograd.grad(output, (x, norm.bias), upstream)

    compare(f"{'pool, ' if pool else ''}norm, GELU {channels}, {side} px", ours, torchs, rounds)


def compare_end(num: int, channels: int, side: int, rounds: int) -> None:
    """Forward and backward of norm, shortcut and GELU."""
    x, shortcut = (maps(num, channels, side, side).requires_grad_() for _ in range(2))
    norm, upstream = Norm(channels), maps(num, channels, side, side)

    def ours() -> object:
        return torch.autograd.grad(norm_add_gelu(x, norm, shortcut), (x, shortcut, norm.bias), upstream)

    def torchs() -> object:
        return torch.autograd.grad(F.gelu(norm(x) + shortcut), (x, shortcut, norm.bias), upstream)

    compare(f"norm, shortcut, GELU {channels}, {side} px", ours, torchs, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    runtime = choose_runtime(RuntimeSpec(device="cpu", kernels="on"))
    process.keep_freed_memory()
    torch.set_num_threads(runtime.threads)
    print(f"{runtime.describe()}\n{'':44}    ours   torch  ratio")
    torch.manual_seed(0)
    for convolution in CONVOLUTIONS:
        compare_convolution(chosen.images, *convolution, rounds=chosen.rounds)
    for sizes in STRIDED:
        compare_strided(chosen.images // 4, *sizes, rounds=chosen.rounds)
    for tail in TAILS:
        compare_tail(chosen.images, *tail, rounds=chosen.rounds)
        if not tail[2]:
            compare_end(chosen.images, *tail[:2], rounds=chosen.rounds)


if __name__ == "__main__":
    main()
