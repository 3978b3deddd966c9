"""Brightness, contrast, saturation and hue, each image of a batch by its own factor.

The adjustments take and return float images in 0..1 of shape (N, 3, H, W), take factors of shape (N,), and
clamp their result to 0..1. They give the numbers of the torchvision functions of the same names. `out`, which
may be the images themselves, saves the memory of a result.
"""

from __future__ import annotations

import torch
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in perceived brightness (ITU-R BT.601), rounded as torchvision has them."""


def to_unit(images: Tensor) -> Tensor:
    """Turn uint8 into floats in 0..1; floats are returned as they are."""
    return images if images.is_floating_point() else images.to(torch.get_default_dtype()).div_(255)


def to_bytes(images: Tensor) -> Tensor:
    """Turn floats in 0..1 into uint8, to the nearest level; uint8 is returned as it is."""
    return images.mul(255).round_().to(torch.uint8) if images.is_floating_point() else images


def adjust_brightness(images: Tensor, factors: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiply by the factor."""
    return torch.mul(images, _each(factors), out=out).clamp_(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor, out: Tensor | None = None) -> Tensor:
    """Scale the distance from the mean grey of the image by the factor."""
    red, green, blue = images.mean((2, 3)).unbind(1)  # the grey of the means is the mean of the greys
    return _blend(images, _each(_grey(red, green, blue)), _each(factors), out)


def adjust_saturation(images: Tensor, factors: Tensor, out: Tensor | None = None) -> Tensor:
    """Scale the distance of each pixel from its grey by the factor."""
    return _blend(images, grey(images), _each(factors), out)


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn the hue by a fraction of the circle, in -0.5..0.5, keeping HSV's saturation and value.

    Uses the closed form of HSV to RGB: channel = value - chroma · clamp(min(k, 4 - k), 0, 1) with
    k = (n + 6 · hue) mod 6 and n = 5, 3, 1 for red, green and blue.
    """
    value = images.amax(1)
    chroma = value - images.amin(1)
    turned = _hue_in_sixths(images, value, chroma) + 6 * shifts.view(-1, 1, 1)
    k = torch.stack([turned + n for n in (5, 3, 1)], dim=1).remainder_(6)
    share = torch.minimum(k, 4 - k).clamp_(0, 1)
    return (value.unsqueeze(1) - share.mul_(chroma.unsqueeze(1))).clamp_(0, 1)


def grey(images: Tensor) -> Tensor:
    """Give the perceived brightness of each pixel, (N, 1, H, W), in the units of `images`."""
    red, green, blue = images.unbind(1)
    return _grey(red, green, blue).unsqueeze(1)


def factors_around_one(uniform: Tensor, strength: float) -> Tensor:
    """Turn numbers in [0, 1) into factors between max(0, 1 - strength) and 1 + strength."""
    low = max(0.0, 1 - strength)
    return low + uniform * (1 + strength - low)


def _hue_in_sixths(images: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """Give the hue in -1..5; 0 where there is no colour."""
    red, green, blue = images.unbind(1)
    divisor = chroma.masked_fill(chroma == 0, 1)
    from_blue = (red - green) / divisor + 4
    from_green = (blue - red) / divisor + 2
    from_red = (green - blue) / divisor
    return torch.where(value == red, from_red, torch.where(value == green, from_green, from_blue))


def _blend(images: Tensor, other: Tensor, factors: Tensor, out: Tensor | None) -> Tensor:
    return torch.mul(images, factors, out=out).add_(other * (1 - factors)).clamp_(0, 1)


def _grey(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    return red.mul(GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
