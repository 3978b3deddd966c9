"""Crop, flip, rotation, translation and erased boxes, for a whole batch at once.

Crop, flip, rotation and translation only move whole pixels. A chain of them is therefore one map that says for each
pixel of the result which pixel of the image it shows, and costs one pass over memory however long it is. The result is
bit for bit that of applying them one after another, because only rotation rounds, and it does so once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cifarlab.machine.randomness import mix_key

ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)
"""Area as a share of the image, and height / width, of an erased rectangle, as in torchvision's RandomErasing.

Zhong et al. (2017) erase up to 0.4 of the area.
"""


@dataclass(frozen=True)
class Source:
    """The place in the image from which each pixel of the result is read.

    The map runs backwards, so the operation that is applied to the image last comes first in a chain of methods; `read`
    ends the chain. rows, columns: whole numbers as floats, broadcast to (N, H, W). inside: bool, likewise; where it is
    False the result is 0; None means True everywhere.
    """

    height: int
    width: int
    rows: Tensor
    columns: Tensor
    inside: Tensor | None = None

    @classmethod
    def identity(cls, images: Tensor) -> Source:
        """Read each pixel of `images` (N, C, H, W) where it is."""
        height, width = images.shape[2:]
        # (1, H, 1) and (1, 1, W): as long as nothing rotates, row and column are independent of each other, and a chain
        # computes N·(H + W) numbers instead of N·H·W.
        rows = torch.arange(height, dtype=torch.get_default_dtype(), device=images.device).view(1, height, 1)
        columns = torch.arange(width, dtype=torch.get_default_dtype(), device=images.device).view(1, 1, width)
        return cls(height, width, rows, columns)

    def shift(self, rows: Tensor, columns: Tensor) -> Source:
        """Read so many pixels further down and to the right; both (N,)."""
        return replace(self, rows=self.rows + rows.view(-1, 1, 1), columns=self.columns + columns.view(-1, 1, 1))

    def mirror(self, mask: Tensor) -> Source:
        """Read from right to left where `mask` (N,) is True."""
        # column -> width - 1 - column, as arithmetic: indexing the batch with the mask would need to know how many
        # images it holds, and so wait for the device.
        flipped = mask.to(self.columns.dtype).view(-1, 1, 1)
        sign, offset = 1 - 2 * flipped, (self.width - 1) * flipped
        return replace(self, columns=self.columns * sign + offset)

    def turn(self, degrees: Tensor) -> Source:
        """Rotate counter-clockwise about the centre by `degrees` (N,), reading the nearest pixel."""
        radians = torch.deg2rad(degrees)
        cosine, sine, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
        # The inverse rotation, because the map runs backwards, in coordinates whose y points down.
        return self.transform((cosine, sine, zero), (-sine, cosine, zero))

    def transform(self, row: tuple[Tensor, Tensor, Tensor], column: tuple[Tensor, Tensor, Tensor]) -> Source:
        """Read row a·y + b·x + c and column d·y + e·x + f, with (a, b, c) and (d, e, f) of shape (N,) each.

        The origin is the centre of the image and the unit a pixel; the nearest pixel is read, zero outside.
        """
        # Pixels are squares with their centre at whole numbers: the centre of 32 pixels lies at 15.5.
        y, x = self.rows - (self.height - 1) / 2, self.columns - (self.width - 1) / 2
        rows = _affine(y, x, row, (self.height - 1) / 2)
        columns = _affine(y, x, column, (self.width - 1) / 2)
        return replace(self, rows=rows, columns=columns).clip()

    def clip(self) -> Source:
        """Show 0 wherever the source has left the image."""
        # `read` needs a valid index even for the pixels that will be 0; where clamping changed it, it was outside.
        rows, columns = self.rows.clamp(0, self.height - 1), self.columns.clamp(0, self.width - 1)
        inside = (rows == self.rows) & (columns == self.columns)
        return replace(self, rows=rows, columns=columns, inside=inside if self.inside is None else inside & self.inside)

    def reflect(self) -> Source:
        """Turn back at the edges, as often as needed, without showing the edge pixel twice."""
        return replace(self, rows=_reflect(self.rows, self.height), columns=_reflect(self.columns, self.width))

    def read(self, images: Tensor) -> Tensor:
        """Gather the result (N, C, H, W) from `images` of the same shape and of any type."""
        # float32 is exact for whole numbers up to 2^24, and an image has at most 512 x 512 = 2^18 pixels
        index = (self.rows * self.width + self.columns).long().view(-1, 1, self.height * self.width)
        # All channels share one index: expand makes a view of stride 0 and copies nothing.
        result = images.flatten(2).gather(2, index.expand(len(images), images.shape[1], -1)).view(images.shape)
        return result if self.inside is None else result.mul_(self.inside.unsqueeze(1))


def crop(images: Tensor, offsets: Tensor, padding: int, fill: Literal["zero", "reflect"]) -> Tensor:
    """Pad by `padding` pixels, then cut the window whose top left corner is `offsets` (N, 2): row, column.

    Offsets run from 0 to 2 x padding; the result has the shape and type of `images` (N, C, H, W). Padding by 4 pixels
    is the augmentation of He et al. (2015) for CIFAR-10.
    """
    source = Source.identity(images).shift(*(offsets - padding).unbind(1))
    return (source.clip() if fill == "zero" else source.reflect()).read(images)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror left and right the images where `mask` (N,) is True."""
    return Source.identity(images).mirror(mask).read(images)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate counter-clockwise about the centre by `degrees` (N,); nearest pixel, zero outside.

    Where a source lies midway between two pixels but for rounding, another implementation may take the other
    one: fewer than one pixel in 10^5 at random angles; up to one in 50 at 225 and 315 degrees, where whole
    diagonals are midway.
    """
    return Source.identity(images).turn(degrees).read(images)


def translate(images: Tensor, shifts: Tensor) -> Tensor:
    """Move the content by `shifts` (N, 2) whole pixels down and to the right; zero where nothing arrives."""
    return Source.identity(images).shift(*(-shifts).unbind(1)).clip().read(images)


def crop_offsets(uniform: Tensor, padding: int) -> Tensor:
    """Map numbers in [0, 1) to offsets 0, 1, ..., 2 x padding of equal probability."""
    return (uniform * (2 * padding + 1)).floor_()


def alternating_mask(indices: Tensor, epoch: int, seed: int) -> Tensor:
    """Decide the flips of one epoch so that each image is mirrored in exactly every other one.

    indices: int64 (N,), positions in the data set; returns bool (N,). The method is Jordan's, "94% on CIFAR-10 in 3.29
    Seconds on a Single GPU" (2024): two random flips in a row show the same side half of the time, these never do.
    """
    # The first flip is a coin per image: a hash of its index and the seed, so nothing has to be stored or resumed.
    # The parity of the index alone would flip the same half of the data set together under every seed.
    low = 0xFFFFFFFF  # products of two 32-bit numbers wrap around in int64, but their low half is right
    bits = (indices ^ mix_key(seed)).bitwise_and_(low)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # MurmurHash3's finaliser (Appleby, 2011)
        bits = (bits ^ (bits >> shift)).mul_(factor).bitwise_and_(low)
    return (bits + epoch).bitwise_and_(1).bool()  # each further epoch turns the parity round


class Box(NamedTuple):
    """Rectangles in pixels, bottom and right excluded; each field (N,), or a scalar tensor for all images."""

    top: Tensor
    left: Tensor
    bottom: Tensor
    right: Tensor

    def covers(self, height: int, width: int) -> Tensor:
        """Tell for each pixel whether it lies in the box: bool (N, 1, height, width)."""
        # Slicing would need the corners as Python numbers, and so wait for the device; comparisons do not, and a box
        # that crosses the edge needs no clipping.
        rows = torch.arange(height, device=self.top.device).view(1, 1, height, 1)
        columns = torch.arange(width, device=self.top.device).view(1, 1, 1, width)
        top, left, bottom, right = (side.view(-1, 1, 1, 1) for side in self)
        # The second pair of parentheses keeps all but one operation on single lines of pixels.
        return (rows >= top) & (rows < bottom) & ((columns >= left) & (columns < right))


def erase(images: Tensor, box: Box, fill: tuple[float, ...]) -> Tensor:
    """Set a box in each image to a colour; `fill` has a value per channel, in the units of `images`."""
    mask = box.covers(*images.shape[2:])[:, 0]
    result = images.clone()  # the caller's images are left alone
    for channel, value in enumerate(fill):  # masked_fill_ takes one value
        result[:, channel].masked_fill_(mask, value)
    return result


def cutout_box(uniform_y: Tensor, uniform_x: Tensor, side: int, height: int, width: int) -> Box:
    """Centre a square of `side` pixels on any pixel of the image (DeVries and Taylor, 2017)."""
    # It may cross the edge, on purpose: the authors found it important that some images stay mostly visible.
    top = (uniform_y * height).floor_() - side // 2
    left = (uniform_x * width).floor_() - side // 2
    return Box(top, left, top + side, left + side)


def erasing_box(uniform: Tensor, probability: float, height: int, width: int) -> Box:
    """Choose a rectangle within each image, or an empty one (random erasing, Zhong et al., 2017).

    uniform: (5, N) in [0, 1), deciding whether, area, ratio, row and column. A rectangle that does not fit (below 1 %
    of them if the image is square) is cut to the image's side less one pixel, where the paper draws again.
    """
    chance, area, ratio, row, column = uniform
    area = (area * (ERASED_AREA[1] - ERASED_AREA[0]) + ERASED_AREA[0]) * (height * width)
    # Uniform in the logarithm, so that 1:2 is as likely as 2:1.
    low, high = math.log(ERASED_RATIO[0]), math.log(ERASED_RATIO[1])
    ratio = (ratio * (high - low) + low).exp()
    # Cut instead of drawn again: how often to draw would depend on values that the device has yet to compute.
    # A height of 0 is enough to make the box empty.
    tall = (area * ratio).sqrt().round_().clamp_(max=height - 1) * (chance < probability)
    wide = (area / ratio).sqrt().round_().clamp_(max=width - 1)
    top, left = (row * (height - tall + 1)).floor_(), (column * (width - wide + 1)).floor_()
    return Box(top, left, top + tall, left + wide)


def _affine(y: Tensor, x: Tensor, coefficients: tuple[Tensor, Tensor, Tensor], centre: float) -> Tensor:
    by_y, by_x, constant = (value.view(-1, 1, 1) for value in coefficients)
    # The centre comes last: on the diagonals of 45 degrees the first sum has to be exactly 0.
    return (y * by_y + x * by_x).add_(constant + centre).round_()


def _reflect(position: Tensor, side: int) -> Tensor:
    # A triangular wave of period 2·(side - 1), which is 0 for a side of 1; remainder, unlike fmod, is never negative.
    last = side - 1
    return last - (position.remainder(max(2 * last, 1)) - last).abs_()
