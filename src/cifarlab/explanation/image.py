"""The explanation of one image: what the network sees, where it looks, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import UsageError, unknown
from cifarlab.explanation.deletion import RANDOM_MAPS, Deletion, deletion
from cifarlab.explanation.feature_maps import FIRST_STAGES, feature_maps
from cifarlab.explanation.grad_cam import coarse_layer, fine_layer, grad_cam, hires_cam
from cifarlab.explanation.heat_map import HeatMap
from cifarlab.explanation.occlusion import Score, occlusion
from cifarlab.inference.classifier import Classifier, Prediction
from cifarlab.models.taps import evaluation_mode, stages

TOP = 5
"""Classes whose probabilities are shown."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """A heat map and its deletion test."""

    heat_map: HeatMap
    deletion: Deletion


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an image, pixels uint8 (3, H, W), shows class_name: the predicted class unless another was asked for.

    probability: of class_name. features: feature maps, float32 (C, h, w), by layer.
    """

    prediction: Prediction
    pixels: NDArray[np.uint8]
    class_name: str
    probability: float
    maps: tuple[Evidence, ...]
    features: dict[str, NDArray[np.float32]]


def explain_image(
    classifier: Classifier,
    name: str,
    pixels: NDArray[np.uint8],
    *,
    layer: str | None = None,
    class_name: str | None = None,
) -> Explanation:
    """Explain the prediction for one image, uint8 (3, S, S), or what speaks for another class.

    layer: where to take feature maps and Grad-CAM; by default feature maps of the first stages and Grad-CAM of the
    last. The network's modes, gradients and hooks stay as they are. A network without feature maps is explained by
    occlusion alone. Raises UsageError for an unknown class and for a layer without feature maps.
    """
    target = None if class_name is None else class_index(classifier, class_name)  # a wrong name fails before any work
    with evaluation_mode(classifier.model):  # dropout must not change between the maps
        [prediction] = classifier.label([name], pixels[None], TOP)
        if target is None:
            target = classifier.card.class_names.index(prediction.label)
        score = class_score(classifier, target)
        layers = [layer] if layer else list(stages(classifier.model, classifier.card.input_size))[:FIRST_STAGES]
        maps = [
            *_class_activation(classifier, pixels[None], target, layer),
            occlusion(score, pixels, mean_colour(classifier)),
        ]
        features = feature_maps(classifier, pixels[None], layers)
        return Explanation(
            prediction,
            pixels,
            classifier.card.class_names[target],
            float(score(pixels[None])[0]),
            tuple(weigh(classifier, pixels, each, target) for each in maps),
            {name: found[0] for name, found in features.items()},
        )


def _class_activation(
    classifier: Classifier, pixels: NDArray[np.uint8], target: int, layer: str | None
) -> list[HeatMap]:
    """Grad-CAM at the chosen layer or the last one, and HiResCAM at a finer one."""
    sizes = stages(classifier.model, classifier.card.input_size)
    if not sizes and layer is None:  # a layer that was asked for gets its error message instead
        return []
    fine = fine_layer(sizes, classifier.card.input_size)
    return [
        *grad_cam(classifier, pixels, [target], layer or coarse_layer(sizes)),
        *hires_cam(classifier, pixels, [target], fine),
    ]


def weigh(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    heat_map: HeatMap,
    target: int,
    *,
    num_random: int = RANDOM_MAPS,
) -> Evidence:
    """Run the deletion test of a heat map: the probability of class `target` while pixels are deleted."""
    score = class_score(classifier, target)
    return Evidence(heat_map, deletion(score, pixels, heat_map, mean_colour(classifier), num_random=num_random))


def class_score(classifier: Classifier, target: int) -> Score:
    """Make the function from images to the probability of one class."""
    return lambda pixels: classifier.probabilities(pixels)[:, target]


def class_index(classifier: Classifier, name: str) -> int:
    """Find the index of a class; raises UsageError with the most similar names for an unknown one."""
    names = classifier.card.class_names
    if name not in names:
        raise UsageError(unknown("class", name, names))
    return names.index(name)


def mean_colour(classifier: Classifier) -> NDArray[np.uint8]:
    """The mean colour of the training images, uint8 (3,), which stands for nothing: it is normalised to zeros."""
    # Black pixels would be far from zero after normalisation.
    return np.round(255 * np.array(classifier.card.mean)).clip(0, 255).astype(np.uint8)
