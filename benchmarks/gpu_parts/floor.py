"""The floor: how fast the card multiplies matrices and copies memory, and the time that a recipe needs at these rates.

Operations and bytes are counted in a whole training without torch.compile, validations included: 2 for every
multiplication with addition, and the operands and results of every convolution and matrix product moved once. The floor
of a recipe is the longer of the two times; what is fused with a product costs nothing in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cifarlab.training.train import train
from gpu_parts.accuracy_time import prepared
from gpu_parts.pieces import Piece, Record, Settings

PRODUCTS = ("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm")
SIDE, COPY_BYTES = 8192, 2**30
TINY_SIDE, TINY_COPY_BYTES = 256, 2**20
ROUNDS = 20


def pieces(settings: Settings) -> list[Piece]:
    """The rates, then every recipe."""
    rates: dict[str, float] = {}
    recipes = [Piece(f"{name}/floor", partial(recipe_floor, settings, name, rates)) for name in settings.recipes]
    return [Piece("rates", lambda _: [Record("rates", "rates", machine_rates(settings))]), *recipes]


def machine_rates(settings: Settings) -> dict[str, float]:
    """Median rates: products of square matrices in bf16 and fp32, and a copy, counted as read and written."""
    side, size = (TINY_SIDE, TINY_COPY_BYTES) if settings.tiny else (SIDE, COPY_BYTES)
    rates = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        matrix = torch.randn(side, side, device=settings.device).to(dtype)
        result = torch.empty_like(matrix)
        seconds = seconds_of(partial(torch.mm, matrix, matrix, out=result), settings.device)
        rates[f"{name} TFLOP/s"] = 2 * side**3 / seconds / 1e12
    source = torch.zeros(size, dtype=torch.uint8, device=settings.device)
    target = torch.empty_like(source)
    rates["copy GB/s"] = 2 * size / seconds_of(lambda: target.copy_(source), settings.device) / 1e9
    return rates


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Median of ROUNDS, after three that are not counted."""
    times = []
    for _ in range(ROUNDS + 3):
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times[3:])


def recipe_floor(settings: Settings, name: str, rates: dict[str, float], _: float) -> list[Record]:
    """Count one training and divide by the rates, which are measured once in a call."""
    if not rates:
        rates.update(machine_rates(settings))
    recipe = prepared(settings, name, 0)
    recipe = recipe.set("evaluation.test=false", "runtime.compile=off")
    bytes_moved = BytesOfProducts()  # type: ignore[no-untyped-call]
    with FlopCounterMode(display=False) as operations, bytes_moved:
        train(recipe, out=settings.out / "counted")
    tera, giga = operations.get_total_flops() / 1e12, bytes_moved.total / 1e9
    product_seconds, copy_seconds = tera / rates["bf16 TFLOP/s"], giga / rates["copy GB/s"]
    values = {"TFLOP": tera, "GB": giga, "seconds by products": product_seconds, "seconds by memory": copy_seconds}
    return [Record(f"{name}/floor", name, values | {"floor seconds": max(product_seconds, copy_seconds)})]


class BytesOfProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of what convolutions and matrix products read and write."""

    total = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._schema.name.removeprefix("aten::") in PRODUCTS:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result
