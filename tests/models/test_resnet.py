from __future__ import annotations

import pytest
import torch
from torch import nn

from cifarlab.models.registry import build_network
from cifarlab.models.resnet import BasicBlock, Bottleneck
from cifarlab.models.summary import multiply_adds, num_parameters
from cifarlab.recipe.schema import ModelSpec

torchvision = pytest.importorskip("torchvision")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("resnet50", 23_520_842),
        ("resnet101", 42_512_970),
        ("resnet152", 58_156_618),
    ],
)
def test_parameters_with_the_cifar_stem_and_ten_classes(name: str, count: int) -> None:
    with torch.device("meta"):
        assert num_parameters(build_network(ModelSpec(name=name), 10)) == count


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_names_and_shapes_are_those_of_torchvision(name: str) -> None:
    with torch.device("meta"):
        ours = build_network(ModelSpec(name=name, stem="imagenet"), 1000, 224).state_dict()
        theirs = torchvision.models.get_model(name).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_published_multiply_adds_at_224(name: str) -> None:
    """torchvision publishes 1.814 and 4.089 G for these two."""
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"]
    with torch.device("meta"):
        ours = multiply_adds(build_network(ModelSpec(name=name, stem="imagenet"), 1000, 224), 224)
    assert ours / 1e9 == pytest.approx(published, abs=0.001)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_equals_torchvision_with_the_same_weights(name: str, stem: str) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.get_model(name, num_classes=10)
    if stem == "cifar":
        reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        reference.maxpool = nn.Identity()
    model = build_network(ModelSpec(name=name, stem=stem), 10)
    model.load_state_dict(reference.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.train()(x), reference.train()(x), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(model.eval()(x), reference.eval()(x), rtol=1e-3, atol=1e-3)


def test_convolutions_start_from_hes_distribution() -> None:
    torch.manual_seed(0)
    weight = build_network(ModelSpec(name="resnet18"), 10).get_submodule("layer4.1.conv2").weight
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert abs(weight.mean().item()) < 1e-4


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_block_keeps_or_changes_the_shape(block: type[BasicBlock] | type[Bottleneck]) -> None:
    channels = 16 * block.expansion
    x = torch.randn(2, channels, 8, 8)
    assert isinstance(block(channels, 16, 1).downsample, nn.Identity)
    assert block(channels, 16, 1)(x).shape == (2, channels, 8, 8)
    assert block(channels, 32, 2)(x).shape == (2, 32 * block.expansion, 4, 4)


def test_width_scales_the_channels() -> None:
    with torch.device("meta"):
        half, whole = (build_network(ModelSpec(name="resnet18", width=width), 10) for width in (0.5, 1.0))
    assert half.get_submodule("fc").in_features == 256
    assert num_parameters(whole) / num_parameters(half) == pytest.approx(4, rel=0.01)
