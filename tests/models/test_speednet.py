from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cifarlab.models.registry import build_network, initialise
from cifarlab.models.speednet import (
    PATCH_VALUES,
    WHITENING_EPS,
    Group,
    ResidualGroup,
    SpeedNet,
    Whitening,
    patch_covariance,
)
from cifarlab.models.summary import layers
from cifarlab.recipe.schema import ModelSpec


def smooth_images(number: int = 300, seed: int = 0) -> torch.Tensor:
    """Images whose neighbouring pixels and channels are correlated, as in photographs."""
    noise = torch.randn(number, 3, 36, 36, generator=torch.Generator().manual_seed(seed))
    blurred = F.avg_pool2d(noise + noise.mean(1, keepdim=True), 5, stride=1)
    return blurred / blurred.std()


def test_covariance_equals_a_loop_over_patches() -> None:
    images = smooth_images(2)[:, :, :6, :5]
    patches = [
        images[n, :, y : y + 2, x : x + 2].double().numpy().ravel()
        for n in range(2)
        for y in range(5)
        for x in range(4)
    ]
    expected = np.mean([np.outer(patch, patch) for patch in patches], axis=0)
    np.testing.assert_allclose(patch_covariance(images, 2).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_covariance_needs_images() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        patch_covariance(torch.empty(0, 3, 32, 32), 2)


def test_responses_are_white() -> None:
    images = smooth_images()
    whiten = Whitening()
    whiten.initialise_from(images)
    responses = F.conv2d(images, whiten.weight[:PATCH_VALUES]).transpose(0, 1).flatten(1).double()
    moments = responses @ responses.T / responses.shape[1]
    variances = torch.linalg.eigvalsh(patch_covariance(images, 2))
    expected = torch.diag(variances / (variances + WHITENING_EPS))
    torch.testing.assert_close(moments, expected, rtol=1e-3, atol=1e-3)
    assert expected.diagonal().min() > 0.9  # so the moments are near the identity


def blank(images: torch.Tensor) -> torch.Tensor:
    return images * torch.tensor([1.0, 1.0, 0.0])[:, None, None]


def grey(images: torch.Tensor) -> torch.Tensor:
    return images[:, :1].expand(-1, 3, -1, -1)


def one_colour(images: torch.Tensor) -> torch.Tensor:
    return images[:, :, :1, :1].expand_as(images)


@pytest.mark.parametrize("change", [blank, grey, one_colour])
def test_n14_where_images_do_not_vary_filters_respond_all_the_same(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """Each with variance 1; a constant response would blow up the gradients, by 316 for each of six norms."""
    torch.manual_seed(0)
    images = change(smooth_images(50))
    model = SpeedNet(10, width=0.25)
    initialise(model, images)
    responses = model.whiten(images).transpose(0, 1).flatten(1)
    moments = (responses**2).mean(1)
    assert moments.min() > 0.9 and moments.max() < 1.1
    assert (torch.corrcoef(responses[:PATCH_VALUES]) - torch.eye(PATCH_VALUES)).abs().max() < 0.999  # all differ
    F.cross_entropy(model(images), torch.arange(50) % 10).backward()
    assert max(parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None) < 10


def test_n14_images_without_any_variance_leave_finite_filters() -> None:
    whiten = Whitening()
    whiten.initialise_from(torch.zeros(4, 3, 8, 8))
    assert torch.isfinite(whiten.weight).all()


def test_every_filter_comes_with_both_signs() -> None:
    whiten = Whitening()
    assert torch.equal(whiten.weight[PATCH_VALUES:], -whiten.weight[:PATCH_VALUES])
    whiten.initialise_from(smooth_images(20))
    assert torch.equal(whiten.weight[PATCH_VALUES:], -whiten.weight[:PATCH_VALUES])


def test_the_order_of_the_filters_does_not_depend_on_the_sign_of_eigenvectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, first, second = smooth_images(50), Whitening(), Whitening()
    first.initialise_from(images)
    eigh = torch.linalg.eigh

    def other_library(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, vectors = eigh(matrix)
        return values, -vectors

    monkeypatch.setattr(torch.linalg, "eigh", other_library)
    second.initialise_from(images)
    assert torch.equal(first.weight, second.weight)


def test_initialise_sets_the_filters_and_nothing_else() -> None:
    model = build_network(ModelSpec(name="speednet"), 10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    initialise(model, smooth_images(20))
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == ["whiten.weight"]


def test_filters_and_scales_are_never_trained() -> None:
    model = SpeedNet(10, width=0.25)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    filters = model.whiten.weight.clone()
    F.cross_entropy(model(smooth_images(8)[:, :, :32, :32]), torch.arange(8)).backward()
    optimizer.step()
    assert torch.equal(model.whiten.weight, filters)
    assert torch.equal(model.group1.norm1.weight, torch.ones(16))
    assert not list(model.whiten.parameters())
    assert model.group1.norm1.bias.any()


def test_convolutions_start_as_the_identity() -> None:
    conv = Group(8, 24).conv1
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(conv(x)[:, :8], x)
    assert conv.weight[8:].std() > 0


def test_shapes_are_those_of_the_docstring() -> None:
    convolutions = [layer.output for layer in layers(SpeedNet(10), 32) if layer.kind.endswith(("Whitening", "Conv2d"))]
    assert convolutions == [
        (24, 31, 31),
        (64, 30, 30),
        (64, 15, 15),
        (256, 14, 14),
        (256, 7, 7),
        (256, 6, 6),
        (256, 3, 3),
    ]


def test_the_larger_network_has_wider_groups_and_a_third_convolution() -> None:
    model = SpeedNet(10, plus=True)
    convolutions = [layer.output for layer in layers(model, 32) if layer.kind.endswith("Conv2d")]
    assert convolutions == [
        (128, 30, 30),
        (128, 15, 15),
        (128, 15, 15),
        (384, 14, 14),
        (384, 7, 7),
        (384, 7, 7),
        (512, 6, 6),
        (512, 3, 3),
        (512, 3, 3),
    ]


def test_the_third_convolution_is_added_to_what_the_second_was_given() -> None:
    group = ResidualGroup(8, 16).eval()
    torch.nn.init.zeros_(group.conv3.weight)
    x = torch.randn(2, 8, 6, 6)
    shortcut = F.gelu(group.norm1(F.max_pool2d(group.conv1(x), 2)))
    torch.testing.assert_close(group(x), F.gelu(shortcut))


@pytest.mark.parametrize(("width", "channels"), [(0.01, [8, 8, 8]), (0.5, [32, 128, 128]), (1.5, [96, 384, 384])])
def test_width_scales_in_steps_of_eight(width: float, channels: list[int]) -> None:
    model = SpeedNet(10, width)
    assert [group.conv2.out_channels for group in (model.group1, model.group2, model.group3)] == channels
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_first_logits_are_small() -> None:
    torch.manual_seed(0)
    model = SpeedNet(10)
    initialise(model, smooth_images(50))
    loss = F.cross_entropy(model.train()(smooth_images(50)), torch.arange(50) % 10)
    assert loss.item() == pytest.approx(np.log(10), abs=0.15)


def test_learns_a_small_problem_in_few_steps() -> None:
    """Horizontal against vertical stripes, in noise."""
    torch.manual_seed(0)
    stripes = torch.sign(torch.sin(torch.arange(16) * 1.5)).expand(3, 16, 16)
    labels = torch.arange(64) % 2
    images = torch.stack([stripes if label else stripes.transpose(1, 2) for label in labels])
    images = images + torch.randn(64, 3, 16, 16)
    model = SpeedNet(2, width=0.25)
    initialise(model, images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(12):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert (model.eval()(images).argmax(1) == labels).float().mean() > 0.95


def test_norm_follows_new_statistics_fast() -> None:
    norm = Group(8, 8).norm1
    assert isinstance(norm, nn.BatchNorm2d)
    norm.train()(torch.full((2, 8, 3, 3), 5.0) + torch.randn(2, 8, 3, 3) * 0)
    torch.testing.assert_close(norm.running_mean, torch.full((8,), 2.0))  # 0.6 · 0 + 0.4 · 5
