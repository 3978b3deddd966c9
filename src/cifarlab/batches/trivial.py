"""TrivialAugment: one of fourteen operations at one of 31 strengths for each image (Müller and Hutter, 2021).

The wide space of the paper, with the ranges and the 8-bit arithmetic of torchvision's TrivialAugmentWide. Sorting the
images by operation would wait for the device to say how many there are of each. So all images of a batch go through the
same three passes, in which the operations that an image did not draw change nothing:

1. moving pixels: shear, translation and rotation are one affine map;
2. a table of the 256 levels: brightness, contrast, posterise, solarise, autocontrast and equalise;
3. blending with a degenerate image: saturation (with the grey image) and sharpness (with the blurred one).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cifarlab.batches.colour import grey
from cifarlab.batches.geometry import Source

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterise",
    "solarise",
    "autocontrast",
    "equalise",
)
"""In torchvision's order. Müller and Hutter draw all of them, identity included, with equal probability."""
NUM_STRENGTHS = 31
STRONGEST_SHEAR = 0.99  # pixels per pixel
STRONGEST_TRANSLATION = 32.0  # pixels, whatever the size of the image: the paper's, which empties one of 32 x 32
STRONGEST_ROTATION = 135.0  # degrees
STRONGEST_FACTOR = 0.99  # of brightness, contrast, saturation and sharpness: factors from 0.01 to 1.99
FEWEST_BITS = 2  # of posterise


def trivial_augment(images: Tensor, operations: Tensor, strengths: Tensor, signs: Tensor) -> Tensor:
    """Apply one operation to each image and return uint8 (N, 3, H, W).

    images: uint8 (N, 3, H, W); operations: (N,) indices into OPERATIONS; strengths: (N,) whole numbers from 0
    to 30; signs: (N,) -1 or 1, used by the operations that have two directions.
    """
    # A mask (N,) per operation: multiplied by it, a strength becomes the one that changes nothing.
    drawn = {name: operations == number for number, name in enumerate(OPERATIONS)}
    moved = _move(images, drawn, strengths, signs)
    mapped = _map_levels(moved, drawn, strengths, signs)
    return _blend(mapped, drawn, strengths, signs)


def trivial_draw(uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Map uniform numbers in [0, 1), (3, N), to operations, strengths and signs, each (N,)."""
    operation, strength, sign = uniform
    return (
        (operation * len(OPERATIONS)).floor(),
        (strength * NUM_STRENGTHS).floor(),
        1 - 2 * (sign < 0.5).to(sign.dtype),
    )


def _scaled(strengths: Tensor, strongest: float, start: float = 0) -> Tensor:
    # Looked up instead of computed, so that the values are torchvision's to the last bit.
    return torch.linspace(start, strongest, NUM_STRENGTHS, device=strengths.device)[strengths.long()]


def _move(images: Tensor, drawn: Mapping[str, Tensor], strengths: Tensor, signs: Tensor) -> Tensor:
    """Shear, translate and rotate with one affine map, which is the identity for all other images."""
    height, width = images.shape[2:]
    shear = _scaled(strengths, STRONGEST_SHEAR) * signs
    shear_x, shear_y = shear * drawn["shear_x"], shear * drawn["shear_y"]
    pixels = _scaled(strengths, STRONGEST_TRANSLATION).floor() * signs  # toward 0 on both sides, like int()
    radians = torch.deg2rad(_scaled(strengths, STRONGEST_ROTATION) * signs * drawn["rotate"])
    cosine, sine = radians.cos(), radians.sin()
    # A shear leaves the upper or left edge where it is, as in Pillow; that edge is half an image from the centre, which
    # is the origin of the map.
    down = shear_y * (width / 2) - pixels * drawn["translate_y"]
    right = shear_x * (height / 2) - pixels * drawn["translate_x"]
    source = Source.identity(images).transform((cosine, shear_y + sine, down), (shear_x - sine, cosine, right))
    return source.read(images)


def _map_levels(images: Tensor, drawn: Mapping[str, Tensor], strengths: Tensor, signs: Tensor) -> Tensor:
    """Send each level of each image through a chain of tables, all but one of which change nothing."""
    # An operation on 256 levels costs a quarter of one on the pixels of a 32 x 32 channel, and one gather at the end
    # applies whichever was drawn.
    flat = images.flatten(2).long()
    levels = torch.arange(256, dtype=strengths.dtype, device=images.device).view(1, 1, 256)

    # Brightness scales the distance from black, contrast that from the mean grey, by 1 + change.
    change = _scaled(strengths, STRONGEST_FACTOR) * signs
    change = _per_image(change * (drawn["brightness"] | drawn["contrast"]))
    # Every floor_ here stands where torchvision stores uint8, which truncates.
    mean = grey(images.to(change.dtype)).floor_().mean((2, 3)) * drawn["contrast"].view(-1, 1)
    levels = (levels * (1 + change) - mean.view(-1, 1, 1) * change).clamp_(0, 255).floor_()

    # Posterise keeps 8 bits at strength 0, down to FEWEST_BITS at the greatest.
    lost_bits = (strengths * drawn["posterise"] * ((8 - FEWEST_BITS) / (NUM_STRENGTHS - 1))).round()
    step = _per_image(lost_bits.exp2())
    levels = (levels / step).floor_().mul_(step)  # exact: a power of 2 only shifts a float's exponent

    # Solarise inverts the levels from a threshold on; no level reaches 256.
    threshold = _per_image((_scaled(strengths, 0, start=1) * 255).masked_fill(~drawn["solarise"], 256))
    levels = torch.where(levels >= threshold, 255 - levels, levels)

    levels = torch.where(_per_image(drawn["autocontrast"]), _autocontrast(images, levels), levels)
    levels = torch.where(_per_image(drawn["equalise"]), _equalise(flat), levels)
    return levels.to(torch.uint8).gather(2, flat).view(images.shape)


def _autocontrast(images: Tensor, levels: Tensor) -> Tensor:
    """Stretch the levels of each channel to 0..255, as tables (N, 3, 256); a channel of one level stays as it is."""
    low, high = (bound.to(levels.dtype).unsqueeze(-1) for bound in (images.amin((2, 3)), images.amax((2, 3))))
    # Multiplied by 1 / 255 before the division, as torchvision does, because the order decides the rounding.
    scale = ((high - low) * (1 / 255)).masked_fill_(high == low, 1)
    return ((levels - low.masked_fill(high == low, 0)) / scale).clamp_(0, 255).floor_()


def _equalise(flat: Tensor) -> Tensor:
    """Spread the levels of each channel evenly, by the integer arithmetic of Pillow's ImageOps.equalize.

    flat: int64 (N, C, pixels). Returns tables (N, C, 256).
    """
    # A histogram per channel without a loop over images; float32 counts exactly up to 2^24 pixels.
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.float32, device=flat.device)
    counts.scatter_add_(2, flat, counts.new_ones(1).expand_as(flat))
    below = counts.cumsum(2) - counts  # pixels darker than each level
    # Pillow leaves the brightest level that occurs out of the number of pixels, and stops a channel from changing when
    # fewer than 255 are left.
    step = ((flat.shape[2] - counts.gather(2, flat.amax(2, keepdim=True))) / 255).floor_()
    spread = ((below + (step / 2).floor_()) / step.clamp(min=1)).floor_().clamp_(max=255)
    # All channels are computed and those without a step discarded, because the device alone knows which they are.
    return torch.where(step == 0, torch.arange(256, device=flat.device), spread)


def _blend(images: Tensor, drawn: Mapping[str, Tensor], strengths: Tensor, signs: Tensor) -> Tensor:
    """Scale the distance from the grey or the blurred image by 1 + a signed share."""
    change = _scaled(strengths, STRONGEST_FACTOR) * signs * (drawn["saturation"] | drawn["sharpness"])
    pixels = images.to(change.dtype)
    # Factors above 1 lead away from the grey or the blurred image (Haeberli and Voorhies, 1994): the same formula makes
    # an image more colourful or less, sharper or softer.
    degenerate = torch.where(drawn["sharpness"].view(-1, 1, 1, 1), _blurred(images), grey(pixels).floor_())
    # In this form a pixel that equals its degenerate stays exactly what it is, in spite of rounding.
    return pixels.addcmul_(pixels - degenerate, change.view(-1, 1, 1, 1)).clamp_(0, 255).to(torch.uint8)


def _blurred(images: Tensor) -> Tensor:
    """Average 3 x 3 pixels with a fivefold centre, as Pillow's SMOOTH filter; the outermost pixels stay as they are."""
    pixels = images.to(torch.int16)  # the sum of weights is 13, and 13 · 255 fits: exact, at half the memory of float32
    # Rows first, then columns: 4 additions per pixel instead of 8, and the centre's other 4 shares at the end.
    rows = pixels[..., :-2, :] + pixels[..., 1:-1, :] + pixels[..., 2:, :]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * pixels[..., 1:-1, 1:-1]
    result = images.float()
    result[..., 1:-1, 1:-1] = (total / 13).round_()
    return result


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)  # one value per image, broadcast over tables (N, 3, 256)
