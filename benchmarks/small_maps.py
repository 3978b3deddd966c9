"""Where a 3×3 convolution is faster as matrix products: forward and both gradients, under CPU autocast to bf16.

    python benchmarks/small_maps.py [--batch 128] [--rounds 7]

Prints the median milliseconds of torch's convolution and of cifarlab.kernels.layers.small_maps, for shapes of ResNets
at 32 px.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from cifarlab.kernels.layers.small_maps import Im2colConv
from cifarlab.machine import process

SHAPES = ((128, 128, 16, 1), (128, 256, 16, 2), (256, 256, 8, 1), (256, 512, 8, 2), (512, 512, 4, 1), (512, 512, 2, 1))
"""Channels in and out, side of the input map, stride."""


def milliseconds(work: Callable[[], None], rounds: int) -> float:
    """Median after two runs that are not counted."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * median(times[2:])


def compare(batch: int, shape: tuple[int, int, int, int], rounds: int) -> tuple[float, float]:
    """Time the library's convolution and the products on the same random tensors."""
    channels_in, channels_out, side, stride = shape
    size = (side // stride, side // stride)
    images = channels_last(torch.randn(batch, channels_in, side, side).bfloat16()).requires_grad_()
    weight = channels_last(torch.randn(channels_out, channels_in, 3, 3)).requires_grad_()
    gradient = channels_last(torch.randn(batch, channels_out, size[0], size[1]).bfloat16())

    def library() -> None:
        torch.autograd.backward(torch.conv2d(images, weight.bfloat16(), None, stride, 1), gradient)

    def products() -> None:
        torch.autograd.backward(Im2colConv.apply(images, weight.bfloat16(), stride, size), gradient)

    return milliseconds(library, rounds), milliseconds(products, rounds)


def channels_last(tensor: Tensor) -> Tensor:
    """The memory format in which networks train."""
    return tensor.contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Measure every shape and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    process.keep_freed_memory()
    torch.set_num_threads(process.num_threads())
    print("in -> out, side, stride    convolution    products")
    for shape in SHAPES:
        library, products = compare(options.batch, shape, options.rounds)
        text = f"{shape[0]} -> {shape[1]}, {shape[2]}, {shape[3]}"
        print(f"{text:24}{library:12.1f} ms{products:9.1f} ms")


if __name__ == "__main__":
    main()
