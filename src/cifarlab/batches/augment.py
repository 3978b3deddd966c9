"""Augment a batch of training images on the device that holds them.

The order is fixed: crop, flip, rotation, translation, brightness, contrast, saturation, hue, policy, cutout, erasing.
One draw of uniform numbers per batch decides everything. Its size does not depend on the recipe, so switching a method
on leaves the choices of the others unchanged, and an image is changed by its own column of the draw alone. Nothing
waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cifarlab.batches import colour, geometry, trivial
from cifarlab.machine import randomness
from cifarlab.recipe.schema import AugmentationSpec


class Draw(NamedTuple):
    """Numbers in [0, 1) that decide what happens to a batch: one row per decision, one column per image."""

    crop: Tensor
    flip: Tensor
    rotation: Tensor
    translation: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    policy: Tensor
    cutout: Tensor
    erasing: Tensor


def draw(n: int, generator: torch.Generator, device: torch.device) -> Draw:
    """Draw for `n` images; a field has shape (N,), or (rows, N) where the method makes several decisions."""
    # One call for all methods, used or not: two recipes of one seed differ by what their methods do, not by luck.
    # It is also one kernel launch instead of eleven.
    uniform = randomness.uniform(generator, 20, n, device=device)
    return Draw(
        crop=uniform[0:2],  # row, column
        flip=uniform[2],
        rotation=uniform[3],
        translation=uniform[4:6],  # down, right
        brightness=uniform[6],
        contrast=uniform[7],
        saturation=uniform[8],
        hue=uniform[9],
        policy=uniform[10:13],  # operation, strength, sign
        cutout=uniform[13:15],  # row and column of the centre
        erasing=uniform[15:20],  # whether, area, ratio, row, column
    )


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
    """Apply the methods that the spec switches on, each with its own random choice for every image.

    pixels: uint8 (N, 3, H, W). indices: int64 (N,), positions in the data set, which decide alternating flips together
    with the epoch and the seed; the generator, on the pixels' device, decides everything else. mean: colour of erased
    boxes, in 0..1. Returns (N, 3, H, W), uint8, or floats in 0..1 if the last change was of colour or an erased box.
    """
    chance = draw(len(pixels), generator, pixels.device)
    mirrored = chance.flip < 0.5
    if spec.flip == "alternating":
        mirrored = geometry.alternating_mask(indices, epoch, seed)
    images = _move(pixels, spec, chance, mirrored)
    images = _recolour(images, spec, chance)
    if spec.policy == "trivial":
        # TrivialAugment is defined in 8-bit arithmetic, so recoloured images are rounded back to 256 levels.
        images = trivial.trivial_augment(colour.to_bytes(images), *trivial.trivial_draw(chance.policy))
    return _erase(images, spec, chance, tuple(mean))


def normalise(
    images: Tensor, mean: Tensor, std: Tensor, *, memory_format: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel.

    images: (N, C, H, W), uint8 or float in 0..1. mean, std: float (C,), in units of 0..1; the result has their type.
    """
    # Scaling C numbers by 255 instead of N·C·H·W values by 1/255 saves a pass over the batch.
    unit = 1.0 if images.is_floating_point() else 255.0
    centred = torch.sub(images, (mean * unit).view(-1, 1, 1))  # also converts uint8 to float, in the same pass
    return centred.mul_((1 / (std * unit)).view(-1, 1, 1)).contiguous(memory_format=memory_format)


def _move(pixels: Tensor, spec: AugmentationSpec, chance: Draw, mirrored: Tensor) -> Tensor:
    """Crop, flip, rotate and translate in one gather, whichever of them are on."""
    source = identity = geometry.Source.identity(pixels)
    # The map says where each pixel of the result comes from, so it is built backwards: translation, which is applied
    # last, comes first.
    if spec.translation > 0:
        rows, columns = 2 * chance.translation - 1  # [0, 1) to [-1, 1)
        # Whole pixels, so that nothing has to be interpolated and the images stay uint8.
        down = (rows * (spec.translation * source.height)).round()
        right = (columns * (spec.translation * source.width)).round()
        source = source.shift(-down, -right).clip()  # content moves down where it is read from further up
    if spec.rotation > 0:
        source = source.turn((2 * chance.rotation - 1) * spec.rotation)
    if spec.flip != "none":
        source = source.mirror(mirrored)
    if spec.crop_padding > 0:
        # The image is never padded: a window at offset o reads from o - padding, and beyond the edge the fill decides.
        rows, columns = geometry.crop_offsets(chance.crop, spec.crop_padding) - spec.crop_padding
        source = source.shift(rows, columns)
        source = source.clip() if spec.crop_fill == "zero" else source.reflect()
    return pixels if source is identity else source.read(pixels)


def _recolour(images: Tensor, spec: AugmentationSpec, chance: Draw) -> Tensor:
    if spec.brightness == spec.contrast == spec.saturation == spec.hue == 0:
        return images  # still uint8: a quarter of the memory that every later pass would read as float32
    images = colour.to_unit(images)  # a new tensor, so the rest may overwrite it
    if spec.brightness > 0:
        factors = colour.factors_around_one(chance.brightness, spec.brightness)
        colour.adjust_brightness(images, factors, out=images)
    if spec.contrast > 0:
        factors = colour.factors_around_one(chance.contrast, spec.contrast)
        colour.adjust_contrast(images, factors, out=images)
    if spec.saturation > 0:
        factors = colour.factors_around_one(chance.saturation, spec.saturation)
        colour.adjust_saturation(images, factors, out=images)
    if spec.hue > 0:
        images = colour.adjust_hue(images, (2 * chance.hue - 1) * spec.hue)
    return images


def _erase(images: Tensor, spec: AugmentationSpec, chance: Draw, mean: tuple[float, ...]) -> Tensor:
    # Boxes come last, so no colour change touches them: their mean colour is exactly 0 once it is normalised.
    # Floats are needed because the mean lies between two of the 256 levels.
    height, width = images.shape[2:]
    if spec.cutout > 0:
        row, column = chance.cutout
        box = geometry.cutout_box(row, column, spec.cutout, height, width)
        images = geometry.erase(colour.to_unit(images), box, mean)
    if spec.erasing > 0:
        box = geometry.erasing_box(chance.erasing, spec.erasing, height, width)
        images = geometry.erase(colour.to_unit(images), box, mean)
    return images
