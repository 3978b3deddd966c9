"""Colour operations against torchvision, image by image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as reference

from cifarlab.batches import colour

FACTORS = (0.0, 0.01, 0.5, 0.8, 1.0, 1.2, 1.99, 5.0)


def unit_images(n: int, height: int = 32, width: int = 32) -> torch.Tensor:
    """Smooth, saturated and grey areas: noise, a ramp of greys, black, white, pure colours, 8-bit levels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 3, height, width, generator=generator)
    images[:, :, 0] = torch.linspace(0, 1, width)
    images[:, :, 1, ::2], images[:, :, 1, 1::2] = 0.0, 1.0
    images[:, :, 2] = torch.eye(3).repeat(1, width)[:, :width]
    images[:, :, 3:9] = (images[:, :, 3:9] * 255).round() / 255
    return images


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (20, 28)])
def test_equals_torchvision(name, size):
    images = unit_images(len(FACTORS), *size)
    before = images.clone()
    adjusted = getattr(colour, f"adjust_{name}")(images, torch.tensor(FACTORS))
    for image, factor, result in zip(images, FACTORS, adjusted, strict=True):
        expected = getattr(reference, f"adjust_{name}")(image, factor)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    assert torch.equal(images, before), "the input is left as it was"
    getattr(colour, f"adjust_{name}")(images, torch.tensor(FACTORS), out=images)
    assert torch.equal(images, adjusted)


def test_hue_equals_torchvision():
    shifts = [-0.5, -0.3, -1 / 6, -0.01, 0.0, 0.1, 1 / 3, 0.5]
    adjusted = colour.adjust_hue(unit_images(len(shifts)), torch.tensor(shifts))
    for image, shift, result in zip(unit_images(len(shifts)), shifts, adjusted, strict=True):
        torch.testing.assert_close(result, reference.adjust_hue(image, shift), rtol=0, atol=2e-6)


def test_a_factor_of_one_and_a_shift_of_nothing_change_nothing():
    images = unit_images(2)
    for adjust in (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation):
        assert torch.equal(adjust(images, torch.ones(2)), images)
    torch.testing.assert_close(colour.adjust_hue(images, torch.zeros(2)), images, rtol=0, atol=1e-6)


def test_a_third_of_the_circle_turns_red_into_green_and_keeps_grey():
    images = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]).view(2, 3, 1, 1)
    turned = colour.adjust_hue(images, torch.full((2,), 1 / 3)).flatten(1)
    torch.testing.assert_close(turned, torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.5]]), rtol=0, atol=1e-6)


@given(factor=st.floats(0, 10), shift=st.floats(-0.5, 0.5), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_results_stay_between_0_and_1(factor, shift, seed):
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    factors = torch.tensor([factor, 1.0])
    results = [
        colour.adjust_brightness(images, factors),
        colour.adjust_contrast(images, factors),
        colour.adjust_saturation(images, factors),
        colour.adjust_hue(images, torch.tensor([shift, 0.0])),
    ]
    for result in results:
        assert result.shape == images.shape and result.dtype == torch.float32
        assert result.min() >= 0 and result.max() <= 1


def test_factors_lie_around_one_and_never_below_zero():
    uniform = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(colour.factors_around_one(uniform, 0.2), torch.tensor([0.8, 1.0, 1.2]))
    torch.testing.assert_close(colour.factors_around_one(uniform, 3.0), torch.tensor([0.0, 2.0, 4.0]))


def test_every_level_survives_the_way_to_floats_and_back():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(colour.to_bytes(colour.to_unit(levels)), levels)
    assert colour.to_unit(levels).max() == 1
    assert colour.to_bytes(levels) is levels
