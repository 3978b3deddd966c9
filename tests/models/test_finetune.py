from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from cifarlab.errors import CheckpointError, RecipeError
from cifarlab.models.finetune import (
    freeze_backbone,
    head,
    load_backbone_weights,
    parameter_groups,
    read_weights,
    train_mode,
    unfreeze,
)
from cifarlab.models.registry import build_network
from cifarlab.models.simple_cnn import SimpleCNN
from cifarlab.recipe.schema import ModelSpec


def network(num_classes: int = 4, seed: int = 0) -> SimpleCNN:
    torch.manual_seed(seed)
    return SimpleCNN(num_classes, 8, batch_norm=True)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def task(num_classes: int, number: int = 48) -> tuple[Tensor, Tensor]:
    """Classes that differ in the direction of a wave; the first directions are shared by all tasks."""
    labels = torch.arange(number) % num_classes
    angles = labels * torch.pi / 4
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    phase = torch.rand(number, generator=torch.Generator().manual_seed(3)) * 6
    waves = torch.sin(1.5 * (angles.cos()[:, None, None] * x + angles.sin()[:, None, None] * y) + phase[:, None, None])
    noise = torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    return waves[:, None] + 0.3 * noise, labels


def learn(model: nn.Module, num_classes: int, steps: int, *, frozen: bool, lr: float = 0.01) -> list[float]:
    images, labels = task(num_classes)
    groups = parameter_groups(model, 1.0, 0.0, True)
    optimizer = torch.optim.Adam([{"params": group["params"]} for group in groups], lr=lr)
    losses = []
    for _ in range(steps):
        train_mode(model, frozen)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model: nn.Module, num_classes: int) -> float:
    images, labels = task(num_classes)
    with torch.no_grad():
        return (model.eval()(images).argmax(1) == labels).float().mean().item()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that knows four classes."""
    model = network()
    learn(model, 4, 25, frozen=False)
    assert accuracy(model, 4) > 0.9
    path = tmp_path_factory.mktemp("weights") / "four.safetensors"
    save_file(model.state_dict(), path)
    return path


def tiny_spec(path: Path) -> ModelSpec:
    return ModelSpec(name="simple-cnn-bn", weights=str(path))


def test_same_classes_load_everything(trained: Path) -> None:
    model = build_network(tiny_spec(trained), 4, 8)
    expected = read_weights(trained)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_other_classes_keep_their_own_head(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = read_weights(trained)
    torch.manual_seed(7)
    fresh = build_network(ModelSpec(name="simple-cnn-bn"), 3, 8)
    torch.manual_seed(7)
    with caplog.at_level("INFO", "cifarlab"):
        model = build_network(tiny_spec(trained), 3, 8)
    for name, tensor in model.state_dict().items():
        source = fresh.state_dict() if name.startswith("fc.") else expected
        assert torch.equal(tensor, source[name]), name
    assert "head" in caplog.text


def test_a_frozen_backbone_is_not_touched_and_its_features_teach_a_new_head(trained: Path) -> None:
    torch.manual_seed(1)
    model = build_network(tiny_spec(trained), 3, 8)
    freeze_backbone(model)
    before = state(model)
    losses = learn(model, 3, 40, frozen=True)
    assert changed(before, model) == {"fc.weight", "fc.bias"}  # so batch norm statistics stayed, too
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy(model, 3) > 0.9


def test_loaded_features_beat_random_ones(trained: Path) -> None:
    """Three classes that the weights know, ten steps of the head alone."""
    torch.manual_seed(1)
    loaded, random = build_network(tiny_spec(trained), 3, 8), build_network(ModelSpec(name="simple-cnn-bn"), 3, 8)
    for model in (loaded, random):
        freeze_backbone(model)
    assert learn(loaded, 3, 10, frozen=True)[-1] < 0.8 * learn(random, 3, 10, frozen=True)[-1]


def test_after_unfreezing_everything_learns_with_the_same_optimizer() -> None:
    model = network()
    freeze_backbone(model)
    groups = parameter_groups(model, 0.1, 0.0, True)
    optimizer = torch.optim.SGD([{"params": group["params"]} for group in groups], lr=0.1)
    images, labels = task(4)
    before = state(model)
    unfreeze(model)
    train_mode(model, frozen=False)
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()
    assert changed(before, model) == set(before)


def test_train_mode_holds_batch_norm_only_while_frozen() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(4, 2))
    train_mode(model, frozen=True)
    assert [module.training for module in model] == [True, False, True, True, True]
    train_mode(model, frozen=False)
    assert all(module.training for module in model)


def test_unfreeze_leaves_alone_what_was_never_trained() -> None:
    model = network()
    fixed = model.features[0].weight.requires_grad_(False)
    freeze_backbone(model)
    freeze_backbone(model)
    assert [p.requires_grad for p in model.parameters()].count(True) == 2
    unfreeze(model)
    assert not fixed.requires_grad
    assert all(p.requires_grad for p in model.parameters() if p is not fixed)


@pytest.mark.parametrize("frozen", [False, True])
def test_groups_hold_every_parameter_once(frozen: bool) -> None:
    model = network()
    if frozen:
        freeze_backbone(model)
    groups = parameter_groups(model, 0.1, 5e-4, decay_norm_and_bias=False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    sorted_names = {
        (group["lr_factor"], group["weight_decay"]): {names[id(p)] for p in group["params"]} for group in groups
    }
    assert sorted_names == {
        (0.1, 5e-4): {"features.0.weight", "features.4.weight", "hidden.weight"},
        (0.1, 0.0): {f"features.{i}.{kind}" for i in (1, 5) for kind in ("weight", "bias")} | {"hidden.bias"},
        (1.0, 5e-4): {"fc.weight"},
        (1.0, 0.0): {"fc.bias"},
    }
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_one_group_when_nothing_differs() -> None:
    (group,) = parameter_groups(network(), 1.0, 0.01, decay_norm_and_bias=True)
    assert group["lr_factor"] == 1.0 and group["weight_decay"] == 0.01


def test_head_is_the_last_linear_or_pointwise_layer_or_what_the_network_says() -> None:
    model = network()
    assert head(model) is model.fc
    squeeze = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert head(squeeze) is squeeze[1]

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier, self.projection = nn.Linear(3, 2), nn.Linear(2, 2)

        def get_classifier(self) -> nn.Module:
            return self.classifier

    own = Own()
    assert head(own) is own.classifier
    with pytest.raises(RecipeError, match="no linear layer"):
        head(nn.Conv2d(3, 4, 3))


def test_several_classifiers_are_one_head() -> None:
    class Distilled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.head_dist = nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(3, 2)

        def get_classifier(self) -> tuple[nn.Module, nn.Module]:
            return self.head, self.head_dist

    model = Distilled()
    freeze_backbone(model)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}


def test_k07_every_difference_is_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    weights = state(network(seed=1))
    weights["features.0.weight"] = torch.zeros(32, 3, 5, 5)
    weights["extra"] = torch.zeros(2)
    del weights["hidden.bias"]
    save_file(weights, tmp_path / "w.safetensors")
    model = network()
    before = state(model)
    with pytest.raises(CheckpointError) as caught:
        load_backbone_weights(model, tmp_path / "w.safetensors")
    text = str(caught.value)
    assert "features.0.weight: expected 32×3×3×3, found 32×3×5×5" in text
    assert "hidden.bias: expected 128, found nothing" in text
    assert "extra: expected nothing, found 2" in text
    assert "features.4.weight" not in text
    assert changed(before, model) == set()


def test_k07_a_file_without_the_head_is_refused(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in state(network()).items() if not name.startswith("fc.")}
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"fc\.weight: expected 4×128, found nothing"):
        load_backbone_weights(network(), tmp_path / "w.safetensors")


def test_counters_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    source = network(seed=1)
    weights = {name: tensor for name, tensor in state(source).items() if "num_batches" not in name}
    save_file(weights, tmp_path / "w.safetensors")
    load_backbone_weights(model := network(), tmp_path / "w.safetensors")
    assert torch.equal(model.hidden.weight, source.hidden.weight)


def test_half_precision_files_are_widened(tmp_path: Path) -> None:
    source = network(seed=1)
    save_file({name: tensor.half() for name, tensor in state(source).items()}, tmp_path / "w.safetensors")
    load_backbone_weights(model := network(), tmp_path / "w.safetensors")
    assert model.hidden.weight.dtype == torch.float32
    torch.testing.assert_close(model.hidden.weight, source.hidden.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_k08_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    weights = state(network())
    weights["hidden.bias"][3] = value
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"NaN or infinity in hidden\.bias"):
        load_backbone_weights(network(), tmp_path / "w.safetensors")


def test_k03_truncated_at_every_kind_of_place(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(100)}, path)
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 40, len(content) - 400, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="Cannot read the weights"):
            read_weights(path)


def test_k01_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="safetensors file is needed"):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        build_network(ModelSpec(name="basic-cnn", weights=str(tmp_path / "nowhere.safetensors")), 10)
