"""The first layer as one operation against torch's two in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.kernels.whiten import supports, whiten

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).contiguous(memory_format=torch.channels_last)


def filters() -> Tensor:
    one_sign = draw(12, 3, 2, 2)
    return torch.cat([one_sign, -one_sign]).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (2, 2), (2, 7)])
@pytest.mark.parametrize("num", [0, 1, 7])
def test_it_is_the_convolution_and_gelu(size: tuple[int, int], num: int) -> None:
    images, weight = draw(num, 3, *size), filters()
    exact = F.gelu(torch.conv2d(images.double(), weight.double()))
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 2**-8)):
        assert supports(images, weight, dtype)
        found = whiten(images, weight, dtype)
        assert found.dtype == dtype and found.shape == exact.shape
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert ((found - exact).abs() <= tolerance * exact.abs() + 4e-6).all()


def test_what_is_no_number_stays_none() -> None:
    images = draw(1, 3, 4, 4)
    images[0, 1, 0, 0] = torch.nan
    found = whiten(images, filters(), torch.float32)
    assert found[0, :, 0, 0].isnan().all()
    assert found.isnan().sum() == 24


def test_it_fits_filters_of_both_signs_and_images_in_order() -> None:
    images, weight = draw(2, 3, 6, 6), filters()
    other = weight.clone()
    other[13, 0, 0, 0] += 1
    assert not supports(images, other, torch.float32)
    assert not supports(images, weight[:, :, :1], torch.float32)
    assert not supports(images.contiguous(), weight, torch.float32)
    assert not supports(images.double(), weight, torch.float32)
    assert not supports(images, weight, torch.float64)
    assert not supports(draw(2, 3, 1, 6), weight, torch.float32)
    assert not supports(images.clone().requires_grad_(), weight, torch.float32)
