from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.models.registry import build_network
from cifarlab.models.taps import capture, feature_layers, layer_names, probe
from cifarlab.recipe.schema import ModelSpec


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_layer_names_are_in_order() -> None:
    assert layer_names(small()) == ["0", "1", "2", "3", "4"]
    assert "layer1.0.conv1" in layer_names(build_network(ModelSpec(name="resnet18"), 10))


def test_capture_gives_the_values_before_an_in_place_relu() -> None:
    model, x = small(), torch.randn(2, 3, 8, 8)
    with capture(model, ["0", "1"]) as outputs:
        logits = model(x)
    convolved = F.conv2d(x, model[0].weight, model[0].bias)
    torch.testing.assert_close(outputs["0"], convolved)
    torch.testing.assert_close(outputs["1"], convolved.clamp(min=0))
    assert outputs["0"].min() < 0
    torch.testing.assert_close(logits, model(x))


def test_gradients_with_respect_to_a_feature_map_have_their_closed_form() -> None:
    """The mean over 36 pixels, then a linear layer: each active pixel has the class weight divided by 36."""
    model, x = small(), torch.randn(1, 3, 8, 8)
    with capture(model, ["1"]) as outputs:
        logits = model(x)
    (gradient,) = torch.autograd.grad(logits[0, 2], outputs["1"])
    expected = (model[4].weight[2] / 36)[None, :, None, None].expand(1, 4, 6, 6)
    torch.testing.assert_close(gradient, expected)


def test_hooks_are_removed_even_after_an_error() -> None:
    model = small()
    with capture(model, ["0"]):
        assert hooks(model) == 1
    assert hooks(model) == 0
    with pytest.raises(RuntimeError, match="in the block"), capture(model, ["0"]):
        raise RuntimeError("in the block")
    assert hooks(model) == 0


def test_an_unknown_layer_is_a_usage_error_and_leaves_no_hook() -> None:
    model = small()
    with pytest.raises(UsageError, match="Unknown layer 'nine'"), capture(model, ["0", "nine"]):
        pass
    assert hooks(model) == 0


def test_a_layer_called_twice_keeps_the_last_output_and_an_unused_one_has_none() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.unused = nn.Threshold(0, 0), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.twice(self.twice(x) + 1)

    with capture(model := Twice(), ["twice", "unused"]) as outputs:
        model(torch.zeros(1))
    assert outputs.keys() == {"twice"} and outputs["twice"].item() == 1


def test_feature_layers_are_those_with_pixels() -> None:
    assert feature_layers(small(), 8) == ["0", "1"]
    assert feature_layers(build_network(ModelSpec(name="resnet18"), 10), 32)[-1].startswith("layer4.1")


def test_probe_restores_every_mode() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    model.train()
    model[1].eval()
    output = probe(model, 4)
    assert isinstance(output, Tensor) and output.shape == (1, 2, 4, 4) and not output.requires_grad
    assert [module.training for module in model.modules()] == [True, True, False, True]
