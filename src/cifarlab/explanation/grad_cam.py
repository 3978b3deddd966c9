"""Where a convolutional network looks: class activation maps from gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifarlab.errors import UsageError
from cifarlab.explanation.heat_map import HeatMap
from cifarlab.inference.classifier import Classifier
from cifarlab.language import listed, tr
from cifarlab.models.taps import capture, evaluation_mode, feature_layers, is_map

GRAD_CAM, HIRES_CAM = "Grad-CAM", "HiResCAM"
FINE_SHARE = 4
"""A fine map has at least one cell per 4 × 4 pixels: 8 × 8 for an image of 32 px."""


def grad_cam(classifier: Classifier, pixels: NDArray[np.uint8], classes: Sequence[int], layer: str) -> list[HeatMap]:
    """Weight each channel of a layer by its mean gradient, and keep the evidence for the class.

    pixels: uint8 (N, 3, H, W); classes: one index per image. The map is relu(Σ_k α_k A_k), where α_k is the gradient
    of the class's logit with respect to A_k, averaged over the layer's pixels. Raises UsageError as `gradients` does.
    Source: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2.
    """
    maps, gradient = gradients(classifier, pixels, classes, layer)
    weights = gradient.mean((2, 3), keepdim=True)  # α_k, (N, C, 1, 1)
    return _heat_maps(GRAD_CAM, layer, (weights * maps).sum(1))


def hires_cam(classifier: Classifier, pixels: NDArray[np.uint8], classes: Sequence[int], layer: str) -> list[HeatMap]:
    """Weight each pixel of each channel by its own gradient instead of the channel's mean.

    The map is relu(Σ_k ∂y/∂A_k · A_k), pixel by pixel. Before the relu it sums to the logit if the rest of the network
    is linear without a bias. Arguments and errors are those of `grad_cam`.
    Source: Draelos and Carin, Use HiResCAM instead of Grad-CAM, arXiv 2011.08891, 2020.
    """
    # In early, finer layers a gradient differs between places, and its mean would blur where the network looked.
    maps, gradient = gradients(classifier, pixels, classes, layer)
    return _heat_maps(HIRES_CAM, layer, (gradient * maps).sum(1))


def gradients(
    classifier: Classifier, pixels: NDArray[np.uint8], classes: Sequence[int], layer: str
) -> tuple[Tensor, Tensor]:
    """Compute a layer's maps and the gradients of each image's class logit with respect to them: float (N, C, h, w).

    The network's modes, gradients and hooks stay as they are. Raises UsageError for a layer that does not exist, whose
    output is not a feature map, or that has no part in the prediction.
    """
    model = classifier.model
    with torch.enable_grad(), evaluation_mode(model), capture(model, [layer]) as outputs:
        images = classifier.network_input(pixels).requires_grad_()  # with frozen weights alone there is no graph
        logits = model(images)
        if layer not in outputs or not is_map(outputs[layer]):
            raise UsageError(no_maps(classifier, layer))
        # Images do not influence each other in evaluation mode, so the gradient of the sum is that of each.
        chosen = logits[torch.arange(len(pixels)), torch.as_tensor(classes, device=logits.device)]
        # autograd.grad instead of backward, which would add to the weights' gradients.
        (gradient,) = torch.autograd.grad(chosen.sum(), outputs[layer], allow_unused=True)
    if gradient is None:  # for example an auxiliary head, which evaluation ignores
        raise UsageError(tr("The layer {layer} has no part in the answer.", layer=layer))
    return outputs[layer].detach().float(), gradient.float()


def no_maps(classifier: Classifier, layer: str) -> str:
    """The error message for a layer without feature maps, which lists the layers that have them."""
    found = feature_layers(classifier.model, classifier.card.input_size)
    return tr(
        "The layer {layer} puts out no feature maps. These do: {layers}.",
        layer=layer,
        layers=listed(found) or tr("none"),
    )


def coarse_layer(stages: Mapping[str, tuple[int, int]]) -> str:
    """Choose the usual layer of Grad-CAM, the last one with feature maps; raises UsageError for a network without any.

    stages: sizes (h, w) of feature maps by layer, in the order in which the layers run.
    """
    if not stages:
        raise UsageError(tr("This network has no feature maps, so it cannot be asked where it looked."))
    return list(stages)[-1]


def fine_layer(stages: Mapping[str, tuple[int, int]], input_size: int) -> str:
    """Choose the last layer whose maps have at least a quarter of the image's side, or the finest if none has."""
    coarse_layer(stages)  # raises UsageError for a network without feature maps
    # Late layers know more about classes, early ones more about places.
    fine = [name for name, (height, _) in stages.items() if FINE_SHARE * height >= input_size]
    return fine[-1] if fine else max(stages, key=lambda name: stages[name])


def _heat_maps(method: str, layer: str, sums: Tensor) -> list[HeatMap]:
    # The relu of both methods: what speaks against the class is left out.
    return [HeatMap(method, layer, values) for values in sums.clamp(min=0).cpu().numpy()]
