"""TrivialAugment's operations against torchvision's, at every strength and in both directions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import TrivialAugmentWide
from torchvision.transforms.v2 import functional as reference

from cifarlab.batches import trivial

SPACE = TrivialAugmentWide._AUGMENTATION_SPACE  # name -> (strengths, whether it has two directions)
NAMES = dict(zip(trivial.OPERATIONS, SPACE, strict=True))
EXPECTED = {
    "identity": lambda image, m: image,
    "shear_x": lambda image, m: affine(image, shear=[math.degrees(math.atan(m)), 0.0], center=[0, 0]),
    "shear_y": lambda image, m: affine(image, shear=[0.0, math.degrees(math.atan(m))], center=[0, 0]),
    "translate_x": lambda image, m: affine(image, translate=[int(m), 0]),
    "translate_y": lambda image, m: affine(image, translate=[0, int(m)]),
    "rotate": reference.rotate,
    "brightness": lambda image, m: reference.adjust_brightness(image, 1 + m),
    "saturation": lambda image, m: reference.adjust_saturation(image, 1 + m),
    "contrast": lambda image, m: reference.adjust_contrast(image, 1 + m),
    "sharpness": lambda image, m: reference.adjust_sharpness(image, 1 + m),
    "posterise": lambda image, m: reference.posterize(image, int(m)),
    "solarise": lambda image, m: reference.solarize(image, 255 * m),
    "autocontrast": lambda image, m: reference.autocontrast(image),
    "equalise": lambda image, m: reference.equalize(image),
}


def affine(image, translate=(0, 0), shear=(0.0, 0.0), center=None):
    return reference.affine(image, 0.0, list(translate), 1.0, list(shear), center=center)


def pictures(n: int, height: int, width: int) -> torch.Tensor:
    """Smooth images of limited contrast, a channel of one level, few levels, and noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 5, 5, generator=generator) * 200 + 20
    images = interpolate(coarse, (height, width), mode="bilinear", align_corners=False).round()
    images[0, 1] = 77
    images[1] = (images[1] / 64).round() * 63
    images[2] = torch.randint(0, 256, (3, height, width), generator=generator)
    return images.to(torch.uint8)


@pytest.mark.parametrize("name", trivial.OPERATIONS)
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (24, 36)])
def test_operation_equals_torchvision(name, size):
    strengths_of, signed = SPACE[NAMES[name]]
    table = strengths_of(31, *size)
    cases = [(strength, sign) for strength in range(31) for sign in ((1, -1) if signed else (1,))]
    images = pictures(len(cases), *size)
    strengths, signs = torch.tensor(cases, dtype=torch.float32).unbind(1)
    operations = torch.full((len(cases),), trivial.OPERATIONS.index(name))
    results = trivial.trivial_augment(images, operations, strengths, signs)
    expected = torch.stack(
        [
            EXPECTED[name](image, sign * float(table[strength]) if table is not None else 0.0)
            for image, (strength, sign) in zip(images, cases, strict=True)
        ]
    )
    difference = (results.int() - expected.int()).abs()
    share = (difference > 0).float().mean().item()
    if name == "saturation":  # a value that is exactly whole stays so here, and may be rounded down there
        assert share < 5e-3 and difference.max() <= 1
    elif name in ("shear_x", "shear_y") and size == (
        64,
        64,
    ):  # 62.5 x 0.264 = 16.5, midway between two pixels
        assert share < 1e-4
    else:
        assert torch.equal(results, expected)


def test_the_operations_are_those_of_torchvision_in_their_order():
    assert [name.lower().replace("_", "") for name in SPACE] == [
        {"saturation": "color", "posterise": "posterize", "solarise": "solarize", "equalise": "equalize"}.get(
            name, name.replace("_", "")
        )
        for name in trivial.OPERATIONS
    ]


def test_each_image_of_a_mixed_batch_gets_its_own_operation_only():
    images = pictures(14, 32, 32)
    operations = torch.arange(14)
    strengths, signs = torch.full((14,), 20.0), torch.ones(14)
    together = trivial.trivial_augment(images, operations, strengths, signs)
    for index in range(14):
        one = slice(index, index + 1)
        alone = trivial.trivial_augment(images[one], operations[one], strengths[one], signs[one])
        assert torch.equal(together[one], alone)
    assert torch.equal(together[0], images[0])
    assert together.dtype == torch.uint8


@pytest.mark.parametrize("size", [(1, 1), (2, 9)])
def test_images_without_an_interior_are_not_sharpened(size):
    images = pictures(3, *size)
    operations = torch.full((3,), trivial.OPERATIONS.index("sharpness"))
    assert torch.equal(trivial.trivial_augment(images, operations, torch.full((3,), 30.0), torch.ones(3)), images)


def test_draw_covers_every_operation_strength_and_sign_evenly():
    n = 14 * 31 * 100
    even = (torch.arange(n) + 0.5) / n
    operations, strengths, signs = trivial.trivial_draw(even.expand(3, n))
    assert torch.bincount(operations.long()).tolist() == [n // 14] * 14
    assert torch.bincount(strengths.long()).tolist() == [n // 31] * 31
    assert signs.mean() == 0 and signs.abs().min() == 1
    last = torch.full((3, 1), 1 - 2**-24)
    assert [value.item() for value in trivial.trivial_draw(last)] == [13, 30, 1]
