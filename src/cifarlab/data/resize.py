"""Resizing on the device: what the network sees when it wants another size than the one that is stored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.data.augment import normalise


def resize(images: Tensor, size: int) -> Tensor:
    """Bring float (N, 3, H, W) to (N, 3, size, size), bilinear, antialiased when shrinking."""
    if images.shape[-2:] == (size, size):
        return images
    shrinks = size < images.shape[-1]
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=shrinks)


def to_network_input(
    pixels: Tensor, mean: Tensor, std: Tensor, size: int, *, memory_format: torch.memory_format
) -> Tensor:
    """Normalise uint8 (N, 3, H, W) and bring it to the size the network sees: float (N, 3, size, size)."""
    return resize(normalise(pixels, mean, std, memory_format=memory_format), size)
