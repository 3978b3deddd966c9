"""Random changes of a batch of training images, on the device where they are.

The order is fixed: crop, flip, rotation, translation, brightness, contrast, saturation, hue, policy, cutout, erasing.
One small draw of uniform numbers decides everything: a row per decision, a column per image. The rows do not depend
on the recipe, so switching a method on leaves the choices of the others as they were, and what happens to an image
depends on its own column alone. Nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cifarlab.data import colour, geometry, policy
from cifarlab.recipe import AugmentationSpec

ROWS = {
    "crop": slice(0, 2),
    "flip": 2,
    "rotation": 3,
    "translation": slice(4, 6),
    "brightness": 6,
    "contrast": 7,
    "saturation": 8,
    "hue": 9,
    "policy": slice(10, 13),
    "cutout": slice(13, 15),
    "erasing": slice(15, 20),
}
NUM_ROWS = 20


def augment(
    pixels: Tensor,
    spec: AugmentationSpec,
    *,
    generator: torch.Generator,
    epoch: int,
    indices: Tensor,
    seed: int,
    mean: Sequence[float],
) -> Tensor:
    """Change each image at random, as the spec says.

    pixels: uint8 (N, 3, H, W). indices: int64 (N,), positions in the data set; they, the epoch and the seed decide
    alternating flips, and generator, of the pixels' device, everything else. mean: colour of erased boxes, 0..1.
    Returns the same shape: uint8 after crop, flip, rotation, translation and policy, else float32 in 0..1.
    """
    uniform = torch.rand((NUM_ROWS, len(pixels)), generator=generator, device=pixels.device)
    mirrored = uniform[ROWS["flip"]] < 0.5
    if spec.flip == "alternating":
        mirrored = geometry.alternating_mask(indices, epoch, seed)
    images = _move(pixels, spec, uniform, mirrored)
    images = _recolour(images, spec, uniform)
    if spec.policy == "trivial":
        images = policy.trivial_augment(colour.to_bytes(images), *policy.trivial_draw(uniform[ROWS["policy"]]))
    return _erase(images, spec, uniform, tuple(mean))


def normalise(
    images: Tensor, mean: Tensor, std: Tensor, *, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel.

    images: uint8, or float in 0..1, (N, C, H, W); mean and std: float32 (C,) in units of 0..1. Returns float32.
    """
    unit = 1.0 if images.is_floating_point() else 255.0
    centred = torch.sub(images, (mean * unit).view(-1, 1, 1))
    return centred.mul_((1 / (std * unit)).view(-1, 1, 1)).contiguous(memory_format=memory_format)


def _move(pixels: Tensor, spec: AugmentationSpec, uniform: Tensor, mirrored: Tensor) -> Tensor:
    """Crop, flip, rotate and translate in one pass; the map is built from the result backwards."""
    source = still = geometry.Source.identity(pixels)
    if spec.translation > 0:
        rows, columns = 2 * uniform[ROWS["translation"]] - 1
        down = (rows * (spec.translation * source.height)).round()
        right = (columns * (spec.translation * source.width)).round()
        source = source.shift(-down, -right).clip()
    if spec.rotation > 0:
        source = source.turn((2 * uniform[ROWS["rotation"]] - 1) * spec.rotation)
    if spec.flip != "none":
        source = source.mirror(mirrored)
    if spec.crop_padding > 0:
        rows, columns = geometry.crop_offsets(uniform[ROWS["crop"]], spec.crop_padding) - spec.crop_padding
        source = source.shift(rows, columns)
        source = source.clip() if spec.crop_fill == "zero" else source.reflect()
    return pixels if source is still else source.read(pixels)


def _recolour(images: Tensor, spec: AugmentationSpec, uniform: Tensor) -> Tensor:
    if spec.brightness > 0:
        factors = colour.factors_around_one(uniform[ROWS["brightness"]], spec.brightness)
        images = colour.adjust_brightness(colour.to_unit(images), factors)
    if spec.contrast > 0:
        factors = colour.factors_around_one(uniform[ROWS["contrast"]], spec.contrast)
        images = colour.adjust_contrast(colour.to_unit(images), factors)
    if spec.saturation > 0:
        factors = colour.factors_around_one(uniform[ROWS["saturation"]], spec.saturation)
        images = colour.adjust_saturation(colour.to_unit(images), factors)
    if spec.hue > 0:
        images = colour.adjust_hue(colour.to_unit(images), (2 * uniform[ROWS["hue"]] - 1) * spec.hue)
    return images


def _erase(images: Tensor, spec: AugmentationSpec, uniform: Tensor, mean: tuple[float, ...]) -> Tensor:
    height, width = images.shape[2:]
    if spec.cutout > 0:
        row, column = uniform[ROWS["cutout"]]
        box = geometry.cutout_box(row, column, spec.cutout, height, width)
        images = geometry.erase(colour.to_unit(images), box, mean)
    if spec.erasing > 0:
        box = geometry.erasing_box(uniform[ROWS["erasing"]], spec.erasing, height, width)
        images = geometry.erase(colour.to_unit(images), box, mean)
    return images
