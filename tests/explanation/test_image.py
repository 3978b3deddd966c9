from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.explanation.image import Explanation, explain_image, mean_colour
from cifarlab.inference.classifier import Classifier

ClassifierOf = Callable[[nn.Module, int, tuple[str, ...]], Classifier]
NAMES = ("left", "right")


class Sides(nn.Module):
    """Says which half of the image is brighter, so that it is known where the evidence lies."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 3)

    def forward(self, images: Tensor) -> Tensor:
        brightness = self.conv(images)
        half = images.shape[-1] // 2
        return 2 * torch.cat([brightness[..., :half].mean((2, 3)), brightness[..., half:].mean((2, 3))], dim=1)


def lit(side: str, size: int = 16) -> NDArray[np.uint8]:
    pixels = np.zeros((3, size, size), np.uint8)
    half = slice(0, size // 2) if side == "left" else slice(size // 2, size)
    pixels[:, :, half] = 255
    return pixels


def means(explanation: Explanation) -> list[tuple[str, float, float]]:
    """By method, how bright the left half of the map is, and the right one."""
    found = []
    for each in explanation.maps:
        values = each.heat_map.resized(16, 16)
        found.append((each.heat_map.method, float(values[:, :8].mean()), float(values[:, 8:].mean())))
    return found


@pytest.mark.parametrize("side", NAMES)
def test_hires_cam_and_occlusion_find_the_side_that_speaks(side: str, classifier_of: ClassifierOf) -> None:
    explanation = explain_image(classifier_of(Sides(), 16, NAMES), "x.png", lit(side))
    assert (explanation.prediction.label, explanation.class_name) == (side, side)
    assert explanation.probability == pytest.approx(1 / (1 + np.exp(-2)), rel=1e-4)
    assert [name for name, _, _ in means(explanation)] == ["Grad-CAM", "HiResCAM", "occlusion"]
    for name, left, right in means(explanation):
        if name != "Grad-CAM":  # which weights both halves alike
            bright, dark = (left, right) if side == "left" else (right, left)
            assert bright > 5 * abs(dark)


def test_a_map_of_the_right_place_passes_its_deletion_test(classifier_of: ClassifierOf) -> None:
    explanation = explain_image(classifier_of(Sides(), 16, NAMES), "x.png", lit("left"))
    found = explanation.maps[1].deletion
    left = np.array([1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0])  # what remains of the bright half after each step
    np.testing.assert_allclose(found.curve, 1 / (1 + np.exp(-2 * left)), rtol=1e-5)
    assert found.num_beaten == 19


def test_another_class_than_the_predicted_one_can_be_asked_for(classifier_of: ClassifierOf) -> None:
    explanation = explain_image(classifier_of(Sides(), 16, NAMES), "x.png", lit("left"), class_name="right")
    assert (explanation.prediction.label, explanation.class_name) == ("left", "right")
    assert explanation.probability == pytest.approx(1 / (1 + np.exp(2)), rel=1e-4)
    assert explanation.maps[1].heat_map.is_empty  # nothing speaks for the dark side


def test_an_unknown_class_is_refused_with_the_nearest(classifier_of: ClassifierOf) -> None:
    with pytest.raises(UsageError, match=r"Unknown class 'rigth'\. Did you mean right"):
        explain_image(classifier_of(Sides(), 16, NAMES), "x", lit("left"), class_name="rigth")


def test_a_layer_can_be_asked_for(classifier_of: ClassifierOf) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(150, 2))
    classifier = classifier_of(model, 16, NAMES)
    usual = explain_image(classifier, "x", lit("left"))
    chosen = explain_image(classifier, "x", lit("left"), layer="0")
    assert [each.heat_map.layer for each in usual.maps] == ["1", "1", ""]
    assert [each.heat_map.layer for each in chosen.maps] == ["0", "1", ""]
    assert {name: maps.shape for name, maps in usual.features.items()} == {"0": (4, 7, 7), "1": (6, 5, 5)}
    assert {name: maps.shape for name, maps in chosen.features.items()} == {"0": (4, 7, 7)}
    with pytest.raises(UsageError, match="These do: 0, 1"):
        explain_image(classifier, "x", lit("left"), layer="3")


def test_the_network_is_left_as_found(classifier_of: ClassifierOf) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(784, 2))
    model.train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    explain_image(classifier_of(model, 16, NAMES), "x", lit("left"))
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_explaining_twice_gives_the_same(classifier_of: ClassifierOf) -> None:
    classifier = classifier_of(Sides(), 16, NAMES)
    first, second = (explain_image(classifier, "x", lit("left")) for _ in range(2))
    assert [each.deletion for each in first.maps] == [each.deletion for each in second.maps]


def assert_finite(explanation: Explanation) -> None:
    assert np.isfinite(explanation.probability)
    for each in explanation.maps:
        assert np.isfinite(each.heat_map.values).all()
        assert np.isfinite([each.deletion.area, each.deletion.random_area, *each.deletion.curve]).all()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_s39_an_image_of_one_colour_is_explained_in_finite_numbers(level: int, classifier_of: ClassifierOf) -> None:
    assert_finite(explain_image(classifier_of(Sides(), 16, NAMES), "x", np.full((3, 16, 16), level, np.uint8)))


def test_s39_a_network_for_one_pixel_is_explained_by_occlusion_alone(classifier_of: ClassifierOf) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())
    explanation = explain_image(classifier_of(model, 1, NAMES), "x", np.full((3, 1, 1), 9, np.uint8))
    assert_finite(explanation)
    assert [each.heat_map.method for each in explanation.maps] == ["occlusion"] and not explanation.features


def test_a_network_without_feature_maps_is_explained_by_occlusion_alone(classifier_of: ClassifierOf) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    explanation = explain_image(classifier_of(model, 16, NAMES), "x", lit("left"))
    assert [each.heat_map.method for each in explanation.maps] == ["occlusion"]
    with pytest.raises(UsageError, match="no feature maps"):
        explain_image(classifier_of(model, 16, NAMES), "x", lit("left"), layer="1")


def test_s39_a_network_of_one_class_is_always_sure(classifier_of: ClassifierOf) -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    explanation = explain_image(classifier_of(model, 16, ("only",)), "x", lit("left"))
    assert_finite(explanation)
    assert explanation.probability == 1 and all(each.deletion.num_beaten == 0 for each in explanation.maps)


def test_the_covering_colour_is_the_mean_of_the_training_images(classifier_of: ClassifierOf) -> None:
    classifier = classifier_of(Sides(), 16, NAMES)
    classifier.card = classifier.card.model_copy(update={"mean": (0.4914, 0.4822, 0.4465)})
    assert mean_colour(classifier).tolist() == [125, 123, 114]
