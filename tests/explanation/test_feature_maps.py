from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cifarlab.errors import UsageError
from cifarlab.explanation.feature_maps import feature_maps, first_filters, strongest
from cifarlab.inference.classifier import Classifier
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec

ClassifierOf = Callable[[nn.Module, int, tuple[str, ...]], Classifier]
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(180, 2))


def test_maps_are_what_the_layers_put_out(classifier_of: ClassifierOf) -> None:
    model = network().train()
    found = feature_maps(classifier_of(model, 8, ("a", "b")), PIXELS, ["1", "0"])
    convolved = F.conv2d(torch.from_numpy(PIXELS) / 255, model[0].weight, model[0].bias).detach()
    np.testing.assert_allclose(found["0"], convolved, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["1"], convolved.clamp(min=0), rtol=1e-5, atol=1e-6)
    assert list(found) == ["1", "0"]
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_without_maps_is_refused(classifier_of: ClassifierOf) -> None:
    with pytest.raises(UsageError, match=r"The layer 4 puts out no feature maps\. These do: 0, 1, 2"):
        feature_maps(classifier_of(network(), 8, ("a", "b")), PIXELS, ["0", "4"])


def test_the_channels_that_vary_most_are_chosen_in_the_order_of_the_layer() -> None:
    maps = np.zeros((4, 2, 2), np.float32)
    maps[:, 0, 0] = [3, 0, 5, 4]
    maps[1] = 100  # large, but the same everywhere
    assert strongest(maps, 2).tolist() == [2, 3]
    assert strongest(maps, 9).tolist() == [0, 1, 2, 3]


def test_the_first_filters_are_those_over_the_colours(classifier_of: ClassifierOf) -> None:
    model = network()
    found = first_filters(classifier_of(model, 8, ("a", "b")))
    assert found is not None and np.array_equal(found, model[0].weight.detach())
    whitening = first_filters(classifier_of(build_network(ModelSpec(name="speednet"), 2), 32, ("a", "b")))
    assert whitening is not None and whitening.shape == (24, 3, 2, 2)


def test_a_network_without_convolutions_has_no_filters(classifier_of: ClassifierOf) -> None:
    assert first_filters(classifier_of(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8, ("a", "b"))) is None
