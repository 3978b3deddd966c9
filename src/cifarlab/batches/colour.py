"""Brightness, contrast, saturation and hue, each image of a batch by its own factor.

The adjustments take and return float images in 0..1 of shape (N, 3, H, W), take factors of shape (N,), and clamp their
result to 0..1. They agree with torchvision's functions of the same names to within 2e-6. `out`, which may be the images
themselves, saves the memory of a result.
"""

from __future__ import annotations

import torch
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in perceived brightness (ITU-R BT.601), rounded as in torchvision."""


def to_unit(images: Tensor) -> Tensor:
    """Convert uint8 to floats in 0..1; floats are returned as they are."""
    # The default type is float32, and float64 when a test needs losses that do not depend on the CPU's rounding.
    return images if images.is_floating_point() else images.to(torch.get_default_dtype()).div_(255)


def to_bytes(images: Tensor) -> Tensor:
    """Convert floats in 0..1 to uint8, to the nearest level; uint8 is returned as it is."""
    # Converting alone truncates, which would darken a recoloured image by half a level on average.
    return images.mul(255).round_().to(torch.uint8) if images.is_floating_point() else images


def adjust_brightness(images: Tensor, factors: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiply each image by its factor."""
    return torch.mul(images, _per_image(factors), out=out).clamp_(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor, out: Tensor | None = None) -> Tensor:
    """Scale the distance from the mean grey of the image by the factor."""
    # Grey is linear in the channels, so the grey of the means is the mean of the greys: no grey image is needed.
    red, green, blue = images.mean((2, 3)).unbind(1)
    return _blend(images, _per_image(_grey(red, green, blue)), _per_image(factors), out)


def adjust_saturation(images: Tensor, factors: Tensor, out: Tensor | None = None) -> Tensor:
    """Scale the distance of each pixel from its grey by the factor."""
    return _blend(images, grey(images), _per_image(factors), out)


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn the hue by a fraction of the circle, in -0.5..0.5, keeping HSV's saturation and value.

    Uses the closed form of HSV to RGB: channel = value - chroma · clamp(min(k, 4 - k), 0, 1) with
    k = (n + 6 · hue) mod 6 and n = 5, 3, 1 for red, green and blue.
    """
    value = images.amax(1)
    chroma = value - images.amin(1)
    turned = _hue_in_sixths(images, value, chroma) + 6 * shifts.view(-1, 1, 1)
    # The textbook conversion tells six sectors apart; this one is the same few operations for every pixel.
    # remainder_, unlike fmod_, is never negative, whichever way the hue was turned.
    k = torch.stack([turned + n for n in (5, 3, 1)], dim=1).remainder_(6)
    share = torch.minimum(k, 4 - k).clamp_(0, 1)
    return (value.unsqueeze(1) - share.mul_(chroma.unsqueeze(1))).clamp_(0, 1)


def grey(images: Tensor) -> Tensor:
    """Compute the perceived brightness of each pixel, (N, 1, H, W), in the units of `images`."""
    red, green, blue = images.unbind(1)
    return _grey(red, green, blue).unsqueeze(1)


def factors_around_one(uniform: Tensor, strength: float) -> Tensor:
    """Map numbers in [0, 1) to factors between max(0, 1 - strength) and 1 + strength, as ColorJitter does."""
    low = max(0.0, 1 - strength)  # a negative factor would invert the image
    return low + uniform * (1 + strength - low)


def _hue_in_sixths(images: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """Compute the hue in -1..5, where 6 is the full circle; 0 for greys."""
    red, green, blue = images.unbind(1)
    divisor = chroma.masked_fill(chroma == 0, 1)  # greys have no hue: 0 / 1 instead of 0 / 0, which is NaN
    from_blue = (red - green) / divisor + 4
    from_green = (blue - red) / divisor + 2
    from_red = (green - blue) / divisor
    # Comparing floats with == is safe here: the maximum is a copy of one of them.
    return torch.where(value == red, from_red, torch.where(value == green, from_green, from_blue))


def _blend(images: Tensor, other: Tensor, factors: Tensor, out: Tensor | None) -> Tensor:
    # `out` may be the images: `other` was computed from them before they are overwritten here.
    return torch.mul(images, factors, out=out).add_(other * (1 - factors)).clamp_(0, 1)


def _grey(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    # The products are summed in place, so a grey image costs one new tensor instead of five.
    return red.mul(GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)  # one value per image, broadcast over (N, 3, H, W)
