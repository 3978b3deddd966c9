"""What Muon does with filters besides its products of matrices: each a single pass over memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from cifarlab.kernels import library
from cifarlab.kernels.batch_norm import LANES


def fits(tensors: Iterable[Tensor | None], dtype: torch.dtype) -> bool:
    """Whether the kernels are there for directions of this type, and take these filters, gradients and averages."""
    return dtype == torch.bfloat16 and library.has("muon_average") and all(map(_is_plain, tensors))


def average_into(average: Tensor, gradient: Tensor, momentum: float, direction: Tensor) -> None:
    """Move the average by the gradient, and write where Nesterov's momentum then points, into (O, 9 · C) in bf16.

    average, gradient: channels-last (O, C, 3, 3), float32; the direction has their order in memory.
    """
    library.call("muon_average", gradient, average, average.numel(), momentum, direction)


def move(filters: Tensor, direction: Tensor, scale: float, factor: float) -> None:
    """filters = scale · filters + factor · direction, which is (O, 9 · C) in bf16."""
    library.call("muon_move", filters, direction.contiguous(), filters.numel(), scale, factor)


def _is_plain(values: Tensor | None) -> bool:
    if values is None or values.ndim != 4 or values.device.type != "cpu" or values.dtype != torch.float32:
        return False
    return values.is_contiguous(memory_format=torch.channels_last) and values.numel() % LANES == 0
