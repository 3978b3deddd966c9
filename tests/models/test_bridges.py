from __future__ import annotations

import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cifarlab.errors import MachineError, MissingExtraError, RecipeError
from cifarlab.models.finetune import freeze_backbone, head
from cifarlab.models.registry import build_network, build_untrained
from cifarlab.recipe.schema import ModelSpec

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        ("torchvision:resnet18", 32),
        ("torchvision:googlenet", 32),
        ("torchvision:squeezenet1_1", 32),
        ("torchvision:mobilenet_v3_small", 32),
        ("torchvision:vit_b_32", 64),
        ("timm:test_resnet", 32),
        ("timm:test_efficientnet", 32),
        ("timm:test_vit", 32),
    ],
)
def test_head_has_our_classes(name: str, image_size: int) -> None:
    with torch.device("meta" if name.startswith("torchvision") else "cpu"):
        model = build_network(ModelSpec(name=name), 7, image_size)
        assert model.train()(torch.randn(2, 3, image_size, image_size)).shape == (2, 7)
    layer = head(model)
    assert (layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features) == 7


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_cifar_stem_keeps_the_resolution(name: str) -> None:
    with torch.device("meta"):
        small, original = (build_network(ModelSpec(name=name, stem=stem), 10) for stem in ("cifar", "default"))
    assert small.conv1.kernel_size == (3, 3) and small.conv1.stride == (1, 1)
    assert isinstance(small.maxpool, nn.Identity)
    assert sum(p.numel() for p in small.parameters()) == 11_173_962
    assert sum(p.numel() for p in original.parameters()) == 11_173_962 + 64 * 3 * (49 - 9)


@pytest.mark.parametrize("name", ["torchvision:vgg11_bn", "timm:resnet18d"])
def test_cifar_stem_is_refused_where_there_is_no_such_layer(name: str) -> None:
    with pytest.raises(RecipeError, match=r"model\.stem = 'cifar' needs a ResNet"), torch.device("meta"):
        build_network(ModelSpec(name=name, stem="cifar"), 10)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchvision:resnet19", "resnet1"),
        ("timm:resnet18x", "resnet18"),
        ("timm:hf-hub:someone/thing", "timm"),
    ],
)
def test_k14_unknown_names_are_refused(name: str, near: str) -> None:
    with pytest.raises(RecipeError, match="Unknown") as caught:
        build_network(ModelSpec(name=name), 10)
    assert near in str(caught.value) and len(str(caught.value)) < 300


def test_unknown_packages_and_widths_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"Unknown package 'os'.*torchvision, timm"):
        build_network(ModelSpec(name="os:system"), 10)
    with pytest.raises(RecipeError, match=r"model\.width"):
        build_network(ModelSpec(name="torchvision:resnet18", width=2.0), 10)


def test_too_small_images_are_a_recipe_error() -> None:
    with pytest.raises(RecipeError, match="cannot take images of 32 px"), torch.device("meta"):
        build_network(ModelSpec(name="torchvision:alexnet"), 10)


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_missing_package_says_how_to_install_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}\.\nInstall it with: pip install 'cifarlab\[vision\]'"):
        build_network(ModelSpec(name=f"{package}:resnet18"), 10)


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_without_a_network_pretrained_weights_name_the_way_out(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch)
    with pytest.raises(MachineError, match=r"model\.weights = a local safetensors file") as caught:
        build_network(ModelSpec(name=f"{package}:resnet18", pretrained=True), 10)
    assert "no route" in str(caught.value) and str(caught.value).count("\n") <= 2


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_build_untrained_fetches_nothing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch)
    build_untrained(ModelSpec(name=f"{package}:resnet18", pretrained=True), 10)


def test_pretrained_weights_of_torchvision_get_a_new_head(monkeypatch: pytest.MonkeyPatch) -> None:
    published = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", lambda *args, **options: published)
    model = build_network(ModelSpec(name="torchvision:resnet18", pretrained=True), 10)
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], published[name]) for name in loaded if not name.startswith("fc."))
    assert model.fc.out_features == 10
    with_small_stem = build_network(
        ModelSpec(name="torchvision:resnet18", pretrained=True, stem="cifar"), 10
    ).state_dict()
    fits = [name for name in loaded if with_small_stem[name].shape == published[name].shape]
    same = {name for name in fits if torch.equal(with_small_stem[name], published[name])}
    assert same == {name for name in loaded if name != "conv1.weight" and not name.startswith("fc.")}


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:test_resnet"])
def test_local_weights_fit_and_the_head_is_found(name: str, tmp_path: Path) -> None:
    source = build_network(ModelSpec(name=name), 5)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model = build_network(ModelSpec(name=name, weights=str(tmp_path / "w.safetensors")), 3)
    freeze_backbone(model)
    for (key, parameter), original in zip(model.named_parameters(), source.parameters(), strict=True):
        assert parameter.requires_grad == (parameter.shape != original.shape), key
        assert parameter.requires_grad or torch.equal(parameter, original), key


def test_weights_of_torchvision_fit_our_resnet(tmp_path: Path) -> None:
    source = torchvision.models.resnet18()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    spec = ModelSpec(name="resnet18", stem="imagenet", weights=str(tmp_path / "w.safetensors"))
    assert torch.equal(build_network(spec, 10).layer3[0].conv1.weight, source.layer3[0].conv1.weight)


def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download fails as it does without a network."""

    def unreachable(*args: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", unreachable)
