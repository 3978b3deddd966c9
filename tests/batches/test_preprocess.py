from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cifarlab.batches.preprocess import resize, to_network_input


def test_the_same_size_is_left_alone() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert resize(images, 8) is images


def test_shrinking_averages_what_it_leaves_out() -> None:
    """Stripes one pixel wide become grey; without antialiasing they would stay stripes or vanish."""
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., ::2] = 1.0
    small = resize(stripes, 8)
    assert small.shape == (1, 3, 8, 8)
    torch.testing.assert_close(small[..., 1:-1], torch.full((1, 3, 8, 6), 0.5), atol=0.05, rtol=0)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 28), (32, 32, 7), (31, 20, 16), (8, 24, 12)])
def test_shrinking_is_torchs(height: int, width: int, size: int) -> None:
    images = torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
    torch.testing.assert_close(resize(images, size), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(resize(images.contiguous(memory_format=torch.channels_last), size), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(resize(images, size), expected, atol=1e-6, rtol=0)


def test_the_weights_serve_gradients_after_inference() -> None:
    images = torch.rand(2, 3, 9, 9, requires_grad=True)
    with torch.inference_mode():
        resize(images, 5)
    torch.autograd.backward(resize(images, 5).sum())
    assert images.grad is not None


def test_growing_interpolates_linearly() -> None:
    ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    large = resize(ramp, 8)
    torch.testing.assert_close(large[0, 0, 0, 1:-1], 0.25 + 0.5 * torch.arange(6.0))


def test_network_input_is_normalised_and_resized() -> None:
    pixels = torch.full((2, 3, 4, 4), 51, dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.2, 0.5])
    found = to_network_input(pixels, mean, std, 8, memory_format=torch.channels_last)
    assert found.shape == (2, 3, 8, 8) and found.dtype == torch.float32
    torch.testing.assert_close(found[:, :, 0, 0], torch.tensor([1.0, 0.0, -0.2]).expand(2, 3), atol=1e-6, rtol=1e-5)
