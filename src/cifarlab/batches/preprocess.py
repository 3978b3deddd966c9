"""Resizing on the device: what the network sees when it wants another size than the one that is stored."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.batches.augment import normalise


def resize(images: Tensor, size: int) -> Tensor:
    """Bring float (N, 3, H, W) to (N, 3, size, size), bilinear, antialiased when shrinking.

    Shrinking on the CPU goes by two products with the weights of all pixels, in less than half of the time that
    torch takes for channels-last images.
    """
    if images.shape[-2:] == (size, size):
        return images
    # autocast would round the products to bf16
    if size < images.shape[-1] and images.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        rows, columns = (_shrinking(length, size, images.dtype) for length in images.shape[-2:])
        return rows @ images.contiguous() @ columns.T
    return _interpolate(images, size, size)


def _interpolate(images: Tensor, height: int, width: int) -> Tensor:
    shrinks = width < images.shape[-1] or height < images.shape[-2]
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=shrinks)


@lru_cache(maxsize=32)
def _shrinking(length: int, size: int, dtype: torch.dtype) -> Tensor:
    """The weights (size, length) of all pixels of a line for each new one: what becomes of the unit vectors."""
    with torch.inference_mode(False):  # kept for all that may come
        return _interpolate(torch.eye(length, dtype=dtype)[None, None], size, length)[0, 0]


def to_network_input(
    pixels: Tensor, mean: Tensor, std: Tensor, size: int, *, memory_format: torch.memory_format
) -> Tensor:
    """Normalise uint8 (N, 3, H, W) and bring it to the size the network sees: float (N, 3, size, size)."""
    return resize(normalise(pixels, mean, std), size).contiguous(memory_format=memory_format)
