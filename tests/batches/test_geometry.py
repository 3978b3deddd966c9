"""Crop, flip, rotation, translation and boxes against torchvision, image by image, and their properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from cifarlab.batches import geometry

SIZES = ((32, 32), (28, 36), (64, 64), (7, 5))


def numbered(n: int, height: int, width: int) -> torch.Tensor:
    """Images whose pixels are all different and not 0, so that each result tells where it was read."""
    return torch.arange(1.0, n * 3 * height * width + 1).view(n, 3, height, width)


def noise(n: int, height: int = 32, width: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fill", ["zero", "reflect"])
@pytest.mark.parametrize("padding", [1, 4])
def test_crop_is_pad_then_window(size, fill, padding):
    height, width = size
    corners = torch.cartesian_prod(torch.arange(2 * padding + 1), torch.arange(2 * padding + 1))
    images = noise(len(corners), height, width)
    cropped = geometry.crop(images, corners, padding, fill)
    mode = "constant" if fill == "zero" else "reflect"
    for image, (top, left), result in zip(images, corners.tolist(), cropped, strict=True):
        padded = reference.pad(image, [padding], padding_mode=mode)
        torch.testing.assert_close(result, reference.crop(padded, top, left, height, width), rtol=0, atol=0)
    assert cropped.dtype == torch.uint8


def test_reflection_goes_on_when_the_padding_is_larger_than_the_image():
    images = noise(2, 4, 5)
    offsets = torch.tensor([[0, 0], [23, 17]])
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (12, 12), (12, 12)), mode="reflect")
    cropped = geometry.crop(images, offsets, 12, "reflect").numpy()
    for index, (top, left) in enumerate(offsets.tolist()):
        np.testing.assert_array_equal(cropped[index], padded[index, :, top : top + 4, left : left + 5])


def test_crop_offsets_cover_the_whole_range_evenly():
    uniform = torch.tensor([0.0, 1 - 2**-24]).repeat(9, 1)
    for padding in range(65):
        assert geometry.crop_offsets(uniform, padding)[0].tolist() == [0, 2 * padding]
    offsets = geometry.crop_offsets(torch.arange(9000) / 9000 + 1e-5, 4)
    assert torch.bincount(offsets.long()).tolist() == [1000] * 9


@given(mask=st.lists(st.booleans(), min_size=1, max_size=9), size=st.sampled_from(SIZES))
@settings(deadline=None, max_examples=25)
def test_flip_mirrors_the_masked_images_and_undoes_itself(mask, size):
    images, chosen = noise(len(mask), *size), torch.tensor(mask)
    flipped = geometry.flip(images, chosen)
    for image, mirrored, result in zip(images, mask, flipped, strict=True):
        assert torch.equal(result, reference.horizontal_flip(image) if mirrored else image)
    assert torch.equal(geometry.flip(flipped, chosen), images)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("angles", ["whole", "random"])
def test_rotation_chooses_the_pixels_that_torchvision_chooses(size, angles):
    degrees = torch.arange(-180.0, 181.0)
    if angles == "random":
        degrees = torch.rand(400, generator=torch.Generator().manual_seed(1)) * 360 - 180
    images = numbered(1, *size).expand(len(degrees), -1, -1, -1)
    expected = torch.stack([reference.rotate(images[0], float(angle)) for angle in degrees])
    rotated = geometry.rotate(images, degrees)
    share = (rotated != expected).float().mean().item()
    assert share <= 1e-5, "only sources within rounding of the middle between two pixels may differ"


@pytest.mark.parametrize("size", SIZES)
def test_rotation_by_nothing_changes_nothing(size):
    images = noise(3, *size)
    assert torch.equal(geometry.rotate(images, torch.zeros(3)), images)


@given(
    shifts=st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=1, max_size=6),
    size=st.sampled_from(SIZES),
)
@settings(deadline=None, max_examples=25)
def test_translation_moves_down_and_right(shifts, size):
    images = noise(len(shifts), *size)
    moved = geometry.translate(images, torch.tensor(shifts))
    for image, (down, right), result in zip(images, shifts, moved, strict=True):
        expected = reference.affine(image, angle=0, translate=[right, down], scale=1, shear=[0, 0])
        assert torch.equal(result, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fill", ["zero", "reflect"])
def test_a_chain_equals_its_operations_one_after_another(size, fill):
    n, generator = 16, torch.Generator().manual_seed(3)
    images = noise(n, *size)
    offsets = torch.randint(0, 9, (n, 2), generator=generator)
    mask, degrees = torch.arange(n) % 2 == 0, torch.rand(n, generator=generator) * 60 - 30
    shifts = torch.randint(-4, 5, (n, 2), generator=generator)
    source = geometry.Source.identity(images).shift(*(-shifts).unbind(1)).clip().turn(degrees).mirror(mask)
    source = source.shift(*(offsets - 4).unbind(1))
    chained = (source.clip() if fill == "zero" else source.reflect()).read(images)
    stepwise = geometry.rotate(geometry.flip(geometry.crop(images, offsets, 4, fill), mask), degrees)
    assert torch.equal(chained, geometry.translate(stepwise, shifts))


def test_images_that_are_not_contiguous_are_read_alike():
    images = noise(4)
    views = images.contiguous(memory_format=torch.channels_last)
    degrees = torch.tensor([10.0, -20.0, 30.0, 90.0])
    assert torch.equal(geometry.rotate(views, degrees), geometry.rotate(images, degrees))


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 10**6), start=st.integers(0, 10**9))
@settings(deadline=None, max_examples=50)
def test_alternating_flip_mirrors_every_image_in_every_other_epoch(seed, epoch, start):
    indices = torch.arange(start, start + 64)
    now, after, later = (geometry.alternating_mask(indices, epoch + step, seed) for step in range(3))
    assert torch.equal(now, ~after)
    assert torch.equal(now, later)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(geometry.alternating_mask(indices[order], epoch, seed), now[order])


def test_alternating_flip_starts_with_a_fair_coin_per_image_and_seed():
    indices = torch.arange(50_000)
    masks = torch.stack([geometry.alternating_mask(indices, 0, seed) for seed in range(8)]).double()
    agreement = (masks[:-1] == masks[1:]).double().mean(1)
    neighbours = (masks[:, :-1] == masks[:, 1:]).double().mean(1)
    deviation = 0.5 / 50_000**0.5
    for share in (masks.mean(1), agreement, neighbours):
        assert ((share - 0.5).abs() < 5 * deviation).all()


@given(
    top=st.integers(-5, 12),
    left=st.integers(-5, 12),
    tall=st.integers(0, 12),
    wide=st.integers(0, 12),
)
@settings(deadline=None, max_examples=40)
def test_erase_sets_the_box_and_nothing_else(top, left, tall, wide):
    images = noise(2, 9, 8) / 255.0
    sides = [torch.tensor([float(side)] * 2) for side in (top, left, top + tall, left + wide)]
    erased = geometry.erase(images, geometry.Box(*sides), (0.1, 0.2, 0.3))
    height, width = max(0, min(9, top + tall) - max(0, top)), max(0, min(8, left + wide) - max(0, left))
    colour = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    expected = reference.erase(images, max(0, top), max(0, left), height, width, colour)
    assert torch.equal(erased, expected)


@pytest.mark.parametrize("side", [1, 8, 9])
def test_cutout_is_a_square_around_any_pixel(side):
    centres = torch.arange(12)
    box = geometry.cutout_box((centres + 0.5) / 12, (centres + 0.5) / 12, side, 12, 12)
    covered = box.covers(12, 12)[:, 0].sum((1, 2)).sqrt().tolist()
    top = [centre - side // 2 for centre in range(12)]
    assert covered == [min(12, first + side) - max(0, first) for first in top]


def test_erasing_draws_rectangles_of_the_stated_size_inside_the_image():
    uniform = torch.rand(5, 20_000, generator=torch.Generator().manual_seed(0))
    box = geometry.erasing_box(uniform, 1.0, 32, 32)
    tall, wide = box.bottom - box.top, box.right - box.left
    assert (box.top >= 0).all() and (box.left >= 0).all()
    assert (box.bottom <= 32).all() and (box.right <= 32).all()
    assert tall.max() == wide.max() == 31
    assert ((tall == 31) | (wide == 31)).float().mean() < 0.02
    assert (tall * wide / 1024).min() > 0.01 and (tall * wide / 1024).max() < 0.36
    assert (tall * wide / 1024).mean().item() == pytest.approx(0.175, abs=0.005)  # the middle of 0.02 and 0.33
    assert (tall / wide).min() > 0.2 and (tall / wide).max() < 5  # 0.3 and 3.3 before rounding
    assert len(torch.unique(box.top + tall / 2)) > 40


def test_erasing_leaves_the_rest_of_the_images_alone():
    uniform = torch.rand(5, 10_000, generator=torch.Generator().manual_seed(0))
    box = geometry.erasing_box(uniform, 0.25, 32, 32)
    touched = box.covers(32, 32).any(3).any(2)[:, 0]
    assert torch.equal(touched, uniform[0] < 0.25)
