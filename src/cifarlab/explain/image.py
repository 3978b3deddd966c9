"""All there is to say about one image: what the network sees, where it looks, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import UsageError, unknown
from cifarlab.explain.deletion import RANDOM_MAPS, Deletion, deletion
from cifarlab.explain.feature_maps import FIRST_STAGES, feature_maps
from cifarlab.explain.grad_cam import coarse_layer, fine_layer, grad_cam, hires_cam
from cifarlab.explain.heat_map import HeatMap
from cifarlab.explain.occlusion import Score, occlusion
from cifarlab.inference.classifier import Classifier, Prediction
from cifarlab.models.taps import evaluation_mode, stages

TOP = 5


@dataclass(frozen=True, eq=False)
class Evidence:
    """A heat map and what deleting by it does to the answer."""

    heat_map: HeatMap
    deletion: Deletion


@dataclass(frozen=True, eq=False)
class Explanation:
    """Of one image, pixels uint8 (3, H, W): why class_name, which is the prediction unless another was asked for.

    probability is that of class_name. features: the maps of some layers, float32 (C, h, w), by layer.
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
    """Explain the answer for one image, uint8 (3, S, S), or what speaks for another class.

    layer: where to take feature maps and Grad-CAM, by default the first stages and the last one. The network's modes,
    gradients and hooks stay as they are. A network without feature maps is explained by occlusion alone.
    Raises UsageError for an unknown class and for a layer without feature maps.
    """
    target = None if class_name is None else class_index(classifier, class_name)
    with evaluation_mode(classifier.model):
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
    """Grad-CAM at a layer or at the last one, and HiResCAM at a finer one."""
    there = stages(classifier.model, classifier.card.input_size)
    if not there and layer is None:
        return []
    fine = fine_layer(there, classifier.card.input_size)
    return [
        *grad_cam(classifier, pixels, [target], layer or coarse_layer(there)),
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
    """A heat map with its deletion test: the probability of class `target` while the image goes."""
    score = class_score(classifier, target)
    return Evidence(heat_map, deletion(score, pixels, heat_map, mean_colour(classifier), num_random=num_random))


def class_score(classifier: Classifier, target: int) -> Score:
    """Images to the probability of one class."""
    return lambda pixels: classifier.probabilities(pixels)[:, target]


def class_index(classifier: Classifier, name: str) -> int:
    """The place of a class; raises UsageError with the nearest names for one that the model does not know."""
    names = classifier.card.class_names
    if name not in names:
        raise UsageError(unknown("class", name, names))
    return names.index(name)


def mean_colour(classifier: Classifier) -> NDArray[np.uint8]:
    """What stands for nothing: the mean of the training images, uint8 (3,), which the network sees as zeros."""
    return np.round(255 * np.array(classifier.card.mean)).clip(0, 255).astype(np.uint8)
