"""Feature maps of an image at the layers of a network, and the filters of its first layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cifarlab.errors import UsageError
from cifarlab.explanation.grad_cam import no_maps
from cifarlab.inference.classifier import Classifier
from cifarlab.models.taps import capture, evaluation_mode, is_map

FIRST_STAGES = 3
"""Stages whose maps are shown by default: the first ones have the finest maps."""


def feature_maps(
    classifier: Classifier, pixels: NDArray[np.uint8], layers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Compute the feature maps of layers for images uint8 (N, 3, H, W), each float32 (N, C, h, w).

    The network's modes and hooks stay as they are. Raises UsageError for a layer that does not exist or whose output
    is not a feature map.
    """
    model = classifier.model
    with torch.no_grad(), evaluation_mode(model), capture(model, layers) as outputs:
        model(classifier.network_input(pixels))
    for layer in layers:
        if layer not in outputs or not is_map(outputs[layer]):  # a layer may exist and not run, or be a classifier
            raise UsageError(no_maps(classifier, layer))
    return {layer: outputs[layer].float().cpu().numpy() for layer in layers}


def strongest(maps: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Choose the channels of (C, h, w) that vary most over the image, at most `count`, in the order of the layer."""
    # By spread instead of mean: a channel with a large bias is bright everywhere and shows nothing.
    spread = maps.std(axis=(1, 2))
    return np.sort(np.argsort(-spread, kind="stable")[:count])


def first_filters(classifier: Classifier) -> NDArray[np.float32] | None:
    """Find the filters that see the colours, float32 (C, 3, h, w); None for a network that has no such layer."""
    # By their shape: names differ between networks, and modules come in the order of definition.
    for module in classifier.model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.ndim == 4 and weight.shape[1] == 3:
            return weight.detach().float().cpu().numpy()
    return None
