"""Class activation maps against closed forms: networks whose answer can be written down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.explanation.grad_cam import coarse_layer, fine_layer, grad_cam, hires_cam
from cifarlab.inference.classifier import Classifier
from cifarlab.models.registry import MODELS, build_network
from cifarlab.models.taps import stages
from cifarlab.recipe.schema import ModelSpec

ClassifierOf = Callable[[nn.Module, int, tuple[str, ...]], Classifier]
NAMES = ("cat", "dog")
SIZE = 6


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 3, SIZE, SIZE), dtype=np.uint8)


def pooled() -> nn.Sequential:
    """The mean of each channel, then a linear layer: the network of the original class activation maps."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def flat() -> nn.Sequential:
    """A linear layer over every pixel of every channel."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * SIZE**2, 2))


def features(model: nn.Sequential, pixels: NDArray[np.uint8]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model[0](torch.from_numpy(pixels) / 255)
    return found


@pytest.mark.parametrize("method", [grad_cam, hires_cam])
def test_behind_a_mean_both_maps_are_the_class_weights_times_the_channels(
    method: Callable[..., list], classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    """y = Σ_k w_k mean(A_k), so ∂y/∂A_k = w_k / 36 at every pixel. Zhou et al., CVPR 2016, equation 2."""
    model, classes = pooled(), [1, 0, 1]
    maps = method(classifier_of(model, SIZE, NAMES), pixels, classes, "0")
    weights = model[3].weight[classes].detach()
    expected = torch.einsum("nk,nkhw->nhw", weights, features(model, pixels)).clamp(min=0) / SIZE**2
    assert expected.max() > 0
    for found, wanted in zip(maps, expected.numpy(), strict=True):
        np.testing.assert_allclose(found.values, wanted, rtol=1e-5, atol=1e-7)


def test_grad_cam_of_a_linear_model_weights_channels_by_their_mean_weight(
    classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    model = flat()
    [found] = grad_cam(classifier_of(model, SIZE, NAMES), pixels[:1], [1], "0")
    weights = model[2].weight[1].detach().reshape(4, SIZE, SIZE)
    expected = (weights.mean((1, 2), keepdim=True) * features(model, pixels)[0]).sum(0).clamp(min=0)
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-4, atol=1e-7)


def test_hires_cam_of_a_linear_model_is_each_pixels_share_of_the_logit(
    classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    model = flat()
    classifier = classifier_of(model, SIZE, NAMES)
    weights = model[2].weight.detach().reshape(2, 4, SIZE, SIZE)
    shares = (weights * features(model, pixels)[0]).sum(1)
    for index in range(2):
        [found] = hires_cam(classifier, pixels[:1], [index], "0")
        np.testing.assert_allclose(found.values, shares[index].clamp(min=0).numpy(), rtol=1e-4, atol=1e-7)
    logits = classifier.logits(pixels[:1])[0]
    np.testing.assert_allclose(shares.sum((1, 2)) + model[2].bias.detach(), logits, rtol=1e-4)


def test_the_two_methods_differ_where_gradients_differ_between_places(
    classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    classifier = classifier_of(flat(), SIZE, NAMES)
    coarse, fine = (method(classifier, pixels[:1], [0], "0")[0] for method in (grad_cam, hires_cam))
    assert not np.allclose(coarse.values, fine.values)


def test_each_images_map_is_its_own(classifier_of: ClassifierOf, pixels: NDArray[np.uint8]) -> None:
    classifier = classifier_of(flat(), SIZE, NAMES)
    together = grad_cam(classifier, pixels, [0, 1, 1], "0")
    alone = [grad_cam(classifier, pixels[i : i + 1], [label], "0")[0] for i, label in enumerate((0, 1, 1))]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-5, atol=1e-7)


def test_what_speaks_against_the_class_leaves_the_map_empty(
    classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    model = pooled()
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].bias.zero_()
        model[3].weight[0] = -1
    [found] = grad_cam(classifier_of(model, SIZE, NAMES), pixels[:1], [0], "0")
    assert found.is_empty and not found.values.any()


def test_the_network_is_left_as_found(classifier_of: ClassifierOf, pixels: NDArray[np.uint8]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(), *list(pooled())[1:])
    model.train()
    model[1].eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3)
    model[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grad_cam(classifier_of(model, SIZE, NAMES), pixels, [0, 0, 0], "0")
    assert [module.training for module in model] == [True, False, True, True, True, True]
    assert all(torch.equal(parameter.grad, torch.full_like(parameter, 3)) for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not [module for module in model.modules() if module._forward_hooks or module._backward_hooks]


def test_a_frozen_network_and_a_caller_without_gradients_change_nothing(
    classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    model = flat()
    classifier = classifier_of(model, SIZE, NAMES)
    [expected] = grad_cam(classifier, pixels[:1], [0], "0")
    model.requires_grad_(False)
    with torch.no_grad():
        [found] = grad_cam(classifier, pixels[:1], [0], "0")
    assert np.array_equal(found.values, expected.values)


def test_the_map_before_an_in_place_relu_is_the_one_that_was_asked_for(
    classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    """d/dA of a relu is 1 where A > 0, so HiResCAM of the layer before it has relu(A) times the weights."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * SIZE**2, 2))
    [found] = hires_cam(classifier_of(model, SIZE, NAMES), pixels[:1], [0], "0")
    weights = model[3].weight[0].detach().reshape(4, SIZE, SIZE)
    expected = (weights * features(model, pixels)[0].clamp(min=0)).sum(0).clamp(min=0)
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("layer", "message"), [("1", "These do: 0"), ("3", "These do: 0"), ("x", "Unknown layer 'x'")])
def test_a_layer_without_maps_is_refused(
    layer: str, message: str, classifier_of: ClassifierOf, pixels: NDArray[np.uint8]
) -> None:
    with pytest.raises(UsageError, match=message):
        grad_cam(classifier_of(pooled(), SIZE, NAMES), pixels[:1], [0], layer)


def test_a_layer_without_part_in_the_answer_is_refused(classifier_of: ClassifierOf, pixels: NDArray[np.uint8]) -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.aside = pooled(), nn.Conv2d(3, 1, 1)

        def forward(self, images: Tensor) -> Tensor:
            self.aside(images)
            return self.main(images)

    with pytest.raises(UsageError, match="aside has no part in the answer"):
        grad_cam(classifier_of(Aside(), SIZE, NAMES), pixels[:1], [0], "aside")


@pytest.mark.parametrize("name", MODELS)
def test_every_network_has_a_fine_layer_of_8_by_8_at_32_px(name: str) -> None:
    with torch.device("meta"):
        there = stages(build_network(ModelSpec(name=name), 10, 32), 32)
    fine, coarse = there[fine_layer(there, 32)], there[coarse_layer(there)]
    assert min(fine) >= 8 and fine >= coarse and min(coarse) > 1


def test_the_usual_layers_of_a_residual_network_are_its_last_groups() -> None:
    with torch.device("meta"):
        there = stages(build_network(ModelSpec(name="resnet18"), 10, 32), 32)
    assert there == {"layer1": (32, 32), "layer2": (16, 16), "layer3": (8, 8), "layer4": (4, 4)}
    assert (coarse_layer(there), fine_layer(there, 32)) == ("layer4", "layer3")


def test_where_no_layer_is_fine_the_finest_is_taken() -> None:
    assert fine_layer({"a": (4, 4), "b": (2, 2)}, 32) == "a"


def test_a_network_without_maps_cannot_be_asked() -> None:
    with pytest.raises(UsageError, match="no feature maps"):
        fine_layer({}, 32)
