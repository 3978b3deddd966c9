"""The pipeline: its order, its randomness, its types, and that it never waits for the device."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.v2 import functional as reference

from cifarlab.batches import geometry
from cifarlab.batches.augment import augment, draw, normalise
from cifarlab.batches.mix import mix
from cifarlab.recipe.schema import AugmentationSpec

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

EVERY_METHOD = (
    AugmentationSpec(crop_padding=4),
    AugmentationSpec(crop_padding=4, crop_fill="reflect"),
    AugmentationSpec(flip="random"),
    AugmentationSpec(flip="alternating"),
    AugmentationSpec(rotation=15.0),
    AugmentationSpec(translation=0.2),
    AugmentationSpec(brightness=0.2),
    AugmentationSpec(contrast=0.2),
    AugmentationSpec(saturation=0.2),
    AugmentationSpec(hue=0.1),
    AugmentationSpec(policy="trivial"),
    AugmentationSpec(cutout=8),
    AugmentationSpec(erasing=1.0),
)
EVERYTHING = AugmentationSpec(
    crop_padding=4,
    flip="random",
    rotation=15.0,
    translation=0.1,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.1,
    policy="trivial",
    cutout=8,
    erasing=0.5,
)


def noise(n: int, height: int = 32, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def run(pixels, spec, seed=0, epoch=0, indices=None):
    indices = torch.arange(len(pixels)) if indices is None else indices
    generator = torch.Generator().manual_seed(seed)
    return augment(pixels, spec, generator=generator, epoch=epoch, indices=indices, seed=9, mean=MEAN)


def test_an_empty_spec_returns_the_pixels():
    pixels = noise(3)
    assert run(pixels, AugmentationSpec()) is pixels


@pytest.mark.parametrize("spec", [*EVERY_METHOD, EVERYTHING])
@pytest.mark.parametrize("shape", [(5, 32, 32), (1, 64, 64), (2, 24, 36)])
def test_shape_type_range_and_input_are_kept(spec, shape):
    pixels = noise(*shape)
    before = pixels.clone()
    result = run(pixels, spec)
    assert result.shape == pixels.shape
    assert torch.equal(pixels, before)
    moves_only = not (spec.brightness or spec.contrast or spec.saturation or spec.hue or spec.cutout or spec.erasing)
    assert result.dtype == (torch.uint8 if moves_only else torch.float32)
    assert result.min() >= 0 and result.max() <= (255 if moves_only else 1)
    assert not torch.equal(result.float(), (pixels if moves_only else pixels / 255).float())


@pytest.mark.parametrize("spec", [*EVERY_METHOD, EVERYTHING])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(spec):
    pixels = noise(16)
    assert torch.equal(run(pixels, spec), run(pixels, spec))
    if spec.flip != "alternating":
        assert not torch.equal(run(pixels, spec), run(pixels, spec, seed=1))


def test_two_batches_from_one_generator_differ():
    pixels, generator = noise(16), torch.Generator().manual_seed(0)
    first, second = (
        augment(pixels, EVERYTHING, generator=generator, epoch=0, indices=torch.arange(16), seed=0, mean=MEAN)
        for _ in range(2)
    )
    assert not torch.equal(first, second)


@given(place=st.integers(0, 7), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=15)
def test_an_image_is_changed_alike_whatever_stands_beside_it(place, seed):
    pixels, others = noise(8), 255 - noise(8).flip(0)
    others[place] = pixels[place]
    torch.testing.assert_close(
        run(pixels, EVERYTHING, seed)[place], run(others, EVERYTHING, seed)[place], rtol=0, atol=0
    )


@pytest.mark.parametrize("spec", EVERY_METHOD)
def test_n71_float64_changes_the_images_as_float32_does(spec):
    """All but single pixels: where a rotated one lies midway between two, rounding decides which is read."""
    pixels = noise(16)
    coarse = run(pixels, spec)
    torch.set_default_dtype(torch.float64)
    try:
        fine = run(pixels, spec)
    finally:
        torch.set_default_dtype(torch.float32)
    assert fine.dtype == (torch.float64 if coarse.is_floating_point() else torch.uint8)
    different = (fine.double() - coarse.double()).abs() > (1e-5 if coarse.is_floating_point() else 0)
    assert different.float().mean() < 1e-4


def test_switching_a_method_on_leaves_the_choices_of_the_others():
    pixels = noise(64)
    cropped = run(pixels, AugmentationSpec(crop_padding=4))
    erased = run(pixels, AugmentationSpec(crop_padding=4, cutout=8))
    untouched = (erased == cropped / 255).float().mean().item()
    assert 0.93 < untouched < 0.97  # a square of 8 x 8 of 32 x 32 is 6.25 %, less what reaches over the edge


def test_every_decision_has_numbers_of_its_own():
    fields = draw(5, torch.Generator().manual_seed(0), torch.device("cpu"))
    numbers = torch.cat([field.flatten() for field in fields])
    assert len(numbers.unique()) == len(numbers) == 20 * 5


def test_the_order_is_crop_flip_rotation_translation_colour_then_erasing():
    pixels, spec = noise(24), EVERYTHING.model_copy(update={"policy": "none"})
    chance = draw(24, torch.Generator().manual_seed(0), torch.device("cpu"))
    crop_y, crop_x = (chance.crop * 9).floor().int().tolist()
    down, right = ((2 * chance.translation - 1) * 3.2).round().int().tolist()
    degrees = ((2 * chance.rotation - 1) * 15).tolist()
    bright = (0.8 + chance.brightness * 0.4).tolist()
    contrast = (0.8 + chance.contrast * 0.4).tolist()
    saturation = (0.8 + chance.saturation * 0.4).tolist()
    hue = ((2 * chance.hue - 1) * 0.1).tolist()
    expected = []
    for i, pixel in enumerate(pixels):
        image = reference.crop(reference.pad(pixel, [4]), crop_y[i], crop_x[i], 32, 32)
        image = reference.horizontal_flip(image) if chance.flip[i] < 0.5 else image
        image = reference.rotate(image, degrees[i])
        image = reference.affine(image, 0, [right[i], down[i]], 1, [0, 0])
        image = reference.adjust_brightness(image / 255, bright[i])
        image = reference.adjust_contrast(image, contrast[i])
        image = reference.adjust_saturation(image, saturation[i])
        expected.append(reference.adjust_hue(image, hue[i]))
    cutout = geometry.cutout_box(*chance.cutout, 8, 32, 32)
    erasing = geometry.erasing_box(chance.erasing, 0.5, 32, 32)
    final = geometry.erase(geometry.erase(torch.stack(expected), cutout, MEAN), erasing, MEAN)
    # the hue of nearly grey pixels amplifies rounding
    torch.testing.assert_close(run(pixels, spec), final, rtol=0, atol=5e-6)


def test_alternating_flips_show_both_sides_in_two_epochs():
    pixels, indices = noise(32), torch.arange(1000, 1032)
    spec = AugmentationSpec(flip="alternating")
    even, odd, next_even = (run(pixels, spec, seed=e, epoch=e, indices=indices) for e in range(3))
    assert torch.equal(even, odd.flip(3))
    assert torch.equal(even, next_even)
    mirrored = (even == pixels).flatten(1).all(1).logical_not().sum()
    assert 4 < mirrored < 28


def test_random_flips_mirror_about_half():
    pixels = noise(2000, 8, 8)
    mirrored = (run(pixels, AugmentationSpec(flip="random")) != pixels).flatten(1).any(1).float().mean()
    assert mirrored.item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("spec", [AugmentationSpec(cutout=8), AugmentationSpec(erasing=1.0)])
def test_erased_pixels_are_exactly_zero_after_normalisation(spec):
    pixels = noise(8)
    erased = run(pixels, spec)
    changed = erased != pixels / 255
    normalised = normalise(erased, torch.tensor(MEAN), torch.tensor(STD))
    assert changed.any() and (normalised[changed] == 0).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalise_equals_torchvision_for_bytes_and_floats(layout):
    pixels = noise(4, 24, 36)
    unit = pixels / 255
    expected = reference.normalize(unit, list(MEAN), list(STD))
    for images in (pixels, unit):
        before = images.clone()
        result = normalise(images, torch.tensor(MEAN), torch.tensor(STD), memory_format=layout)
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-6)
        assert result.dtype == torch.float32 and result.is_contiguous(memory_format=layout)
        assert torch.equal(images, before)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("crop_fill", ["zero", "reflect"])
@pytest.mark.parametrize("flip", ["random", "alternating"])
def test_nothing_waits_for_the_device_or_leaves_it(device, crop_fill, flip):
    """Tensors without values raise where a value is needed on the host, and where two devices meet."""
    spec = EVERYTHING.model_copy(update={"crop_fill": crop_fill, "flip": flip, "mixup": 0.2, "cutmix": 1.0})
    with FakeTensorMode():
        pixels = torch.empty(8, 3, 32, 32, dtype=torch.uint8, device=device)
        indices, mean = torch.arange(8, device=device), torch.rand(3, device=device)
        generator = torch.Generator()
        images = augment(pixels, spec, generator=generator, epoch=1, indices=indices, seed=0, mean=MEAN)
        images = normalise(images, mean, mean, memory_format=torch.channels_last)
        images, targets = mix(images, indices, spec, generator)
    assert images.device.type == targets.second.device.type == targets.weight.device.type == device
    assert images.is_contiguous(memory_format=torch.channels_last)
