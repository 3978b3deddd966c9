"""Normalise and resize on the device, for networks that see another size than the one that is stored."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.batches.augment import normalise


def resize(images: Tensor, size: int) -> Tensor:
    """Resize float (N, 3, H, W) to (N, 3, size, size): bilinear, and antialiased where it shrinks.

    Shrinking on a CPU multiplies by two weight matrices, which takes less than half as long as torch's interpolation of
    channels-last images and agrees with it to 1e-6.
    """
    if images.shape[-2:] == (size, size):
        return images
    # Under autocast the products would be rounded to bf16, which interpolation is not.
    if size < images.shape[-1] and images.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        rows, columns = (_shrinking(length, size, images.dtype) for length in images.shape[-2:])
        return rows @ images.contiguous() @ columns.T  # contiguous: a product of planes, which channels_last has not
    return _interpolate(images, size, size)


def _interpolate(images: Tensor, height: int, width: int) -> Tensor:
    # Without antialiasing, shrinking reads four pixels and skips the rest: stripes one pixel wide would vanish or stay.
    # Growing leaves nothing out.
    shrinks = width < images.shape[-1] or height < images.shape[-2]
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=shrinks)


@lru_cache(maxsize=32)  # a training with growing images goes through a few sizes, again and again
def _shrinking(length: int, size: int, dtype: torch.dtype) -> Tensor:
    """Compute the weights (size, length) of all old pixels in a line for each new one."""
    # Interpolation is linear in the pixels, so its matrix is what it makes of the unit vectors.
    with torch.inference_mode(False):  # an inference tensor in the cache could not take part in a later backward pass
        return _interpolate(torch.eye(length, dtype=dtype)[None, None], size, length)[0, 0]


def to_network_input(
    pixels: Tensor, mean: Tensor, std: Tensor, size: int, *, memory_format: torch.memory_format
) -> Tensor:
    """Normalise uint8 (N, 3, H, W) and resize it to what the network sees: float (N, 3, size, size)."""
    # The memory format comes last, because resizing works on planes.
    return resize(normalise(pixels, mean, std), size).contiguous(memory_format=memory_format)
