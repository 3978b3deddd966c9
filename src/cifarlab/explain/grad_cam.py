"""Where a convolutional network looks: class activation maps from gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifarlab.errors import UsageError
from cifarlab.explain.heat_map import HeatMap
from cifarlab.inference.classifier import Classifier
from cifarlab.models.taps import capture, evaluation_mode, feature_layers, is_map

GRAD_CAM, HIRES_CAM = "Grad-CAM", "HiResCAM"
FINE_SHARE = 4
"""A fine map has at least a cell for every 4 × 4 pixels: 8 × 8 for an image of 32 px."""


def grad_cam(classifier: Classifier, pixels: NDArray[np.uint8], classes: Sequence[int], layer: str) -> list[HeatMap]:
    """Weight each channel of a layer by the mean of its gradient, and keep what speaks for the class.

    pixels: uint8 (N, 3, H, W); classes: one index per image. The map is relu(Σ_k α_k A_k), where α_k is the mean over
    the layer's pixels of the derivative of the class's logit by A_k. Raises UsageError as `gradients` does.
    Source: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2.
    """
    maps, gradient = gradients(classifier, pixels, classes, layer)
    weights = gradient.mean((2, 3), keepdim=True)
    return _heat_maps(GRAD_CAM, layer, (weights * maps).sum(1))


def hires_cam(classifier: Classifier, pixels: NDArray[np.uint8], classes: Sequence[int], layer: str) -> list[HeatMap]:
    """Weight each pixel of each channel by its own gradient, which keeps places apart in early, finer layers.

    The map is relu(Σ_k ∂y/∂A_k · A_k), by pixel. Before the relu, and where the rest of the network is linear without a
    bias, it adds up to the logit. Arguments and errors are those of `grad_cam`.
    Source: Draelos and Carin, Use HiResCAM instead of Grad-CAM, arXiv 2011.08891, 2020.
    """
    maps, gradient = gradients(classifier, pixels, classes, layer)
    return _heat_maps(HIRES_CAM, layer, (gradient * maps).sum(1))


def gradients(
    classifier: Classifier, pixels: NDArray[np.uint8], classes: Sequence[int], layer: str
) -> tuple[Tensor, Tensor]:
    """A layer's maps and the derivatives of each image's own class logit by them, both float (N, C, h, w).

    The network's modes, gradients and hooks stay as they are. Raises UsageError for a layer that does not exist, puts
    out no feature maps, or has no part in the answer.
    """
    model = classifier.model
    with torch.enable_grad(), evaluation_mode(model), capture(model, [layer]) as outputs:
        images = classifier.network_input(pixels).requires_grad_()  # frozen weights alone would leave no graph
        logits = model(images)
        if layer not in outputs or not is_map(outputs[layer]):
            raise UsageError(no_maps(classifier, layer))
        chosen = logits[torch.arange(len(pixels)), torch.as_tensor(classes, device=logits.device)]
        (gradient,) = torch.autograd.grad(chosen.sum(), outputs[layer], allow_unused=True)
    if gradient is None:
        raise UsageError(f"The layer {layer} has no part in the answer.")
    return outputs[layer].detach().float(), gradient.float()


def no_maps(classifier: Classifier, layer: str) -> str:
    """Say that a layer puts out no feature maps, and which do."""
    there = feature_layers(classifier.model, classifier.card.input_size)
    return f"The layer {layer} puts out no feature maps. These do: {', '.join(there) or 'none'}."


def coarse_layer(stages: Mapping[str, tuple[int, int]]) -> str:
    """The usual place to ask where a network looked: the last layer with feature maps.

    Raises UsageError for a network without any.
    """
    if not stages:
        raise UsageError("This network has no feature maps, so it cannot be asked where it looked.")
    return list(stages)[-1]


def fine_layer(stages: Mapping[str, tuple[int, int]], input_size: int) -> str:
    """The last layer whose maps have at least a quarter of the image's side, or the finest where none has."""
    coarse_layer(stages)
    fine = [name for name, (height, _) in stages.items() if FINE_SHARE * height >= input_size]
    return fine[-1] if fine else max(stages, key=lambda name: stages[name])


def _heat_maps(method: str, layer: str, sums: Tensor) -> list[HeatMap]:
    return [HeatMap(method, layer, values) for values in sums.clamp(min=0).cpu().numpy()]
