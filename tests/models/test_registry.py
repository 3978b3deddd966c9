"""One battery that every registered network passes, and what the registry promises."""

from __future__ import annotations

import doctest

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cifarlab.models
from cifarlab.errors import RecipeError
from cifarlab.models.registry import MODELS, build_network, build_untrained, initialise
from cifarlab.recipe.schema import ModelSpec

LARGE = {"resnet101", "resnet152"}
SMALL = [name for name in MODELS if name not in LARGE]
"""Networks that fit a test with real weights; the others share their code with resnet50."""


def make(name: str, num_classes: int = 10, image_size: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return build_network(ModelSpec(name=name), num_classes, image_size)


def images(number: int = 2, size: int = 32) -> Tensor:
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_has_docstring_with_shapes_and_source(name: str) -> None:
    with torch.device("meta"):
        text = type(build_network(ModelSpec(name=name), 10)).__doc__
    assert text is not None
    assert "3 × 32 × 32" in text.replace("×  ", "× ")
    assert "Source:" in text and MODELS[name].source


@pytest.mark.parametrize("num_classes", [2, 100])
@pytest.mark.parametrize("name", MODELS)
def test_output_has_one_logit_per_class(name: str, num_classes: int) -> None:
    with torch.device("meta"):
        model = build_network(ModelSpec(name=name), num_classes)
        assert model(torch.empty(3, 3, 32, 32)).shape == (3, num_classes)


@pytest.mark.parametrize("size", [40, 64])
@pytest.mark.parametrize("name", MODELS)
def test_takes_other_image_sizes(name: str, size: int) -> None:
    with torch.device("meta"):
        assert build_network(ModelSpec(name=name), 10, size)(torch.empty(2, 3, size, size)).shape == (2, 10)


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].min_size > 8])
def test_min_size_is_the_smallest_that_works(name: str) -> None:
    size = MODELS[name].min_size
    assert make(name, 10, size).eval()(images(2, size)).shape == (2, 10)
    with pytest.raises(RecipeError, match=f"it needs {size}"):
        make(name, 10, size - 1)
    with pytest.raises((RuntimeError, ValueError, UserWarning)):
        MODELS[name].build(ModelSpec(name=name), 10, size - 1).eval()(images(2, size - 1))


@pytest.mark.parametrize("name", SMALL)
def test_gradient_reaches_every_trainable_parameter(name: str) -> None:
    model = make(name)
    F.cross_entropy(model(images(4)), torch.tensor([0, 1, 2, 3])).backward()
    dead = [key for key, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert dead == []


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_judges_each_image_alone_and_changes_nothing(name: str) -> None:
    model = make(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        together = model(images(3))
        alone = torch.cat([model(image[None]) for image in images(3)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["simple-cnn-bn", "googlenet", "resnet18", "speednet"])
def test_training_moves_the_statistics_of_batch_norm(name: str) -> None:
    model = make(name).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        model(images(4))
    assert norms and all(norm.running_mean is not None and norm.running_mean.any() for norm in norms)


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_gives_the_same_logits(name: str) -> None:
    model = make(name).eval()
    with torch.no_grad():
        contiguous = model(images())
        last = model.to(memory_format=torch.channels_last)(images().to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, contiguous, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_autocast_stays_near_full_precision(name: str) -> None:
    model = make(name).eval()
    with torch.no_grad():
        full = model(images())
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(images()).float()
    assert (rounded - full).abs().max() < 0.05 * (1 + full.abs().max())


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again = make(name).state_dict(), make(name).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    torch.manual_seed(1)
    other = build_network(ModelSpec(name=name), 10).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", SMALL)
def test_state_dict_carries_the_whole_network(name: str) -> None:
    model = make(name)
    with torch.no_grad():
        model.train()(images(4))  # moves the running statistics
        torch.manual_seed(5)
        copy = build_network(ModelSpec(name=name), 10)
        copy.load_state_dict(model.state_dict())
        assert torch.equal(copy.eval()(images()), model.eval()(images()))


def test_the_example_in_the_docstring_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifarlab.models.registry, "MODELS", dict(MODELS))
    result = doctest.testmod(cifarlab.models.registry)
    assert result.attempted >= 6 and result.failed == 0


def test_k14_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"Unknown model 'resnet81'. Did you mean .*resnet18") as caught:
        build_network(ModelSpec(name="resnet81"), 10)
    assert str(caught.value).count("\n") <= 2
    with pytest.raises(RecipeError, match=r"Unknown model 'os\.system'"):
        build_network(ModelSpec(name="os.system"), 10)


def test_impossible_options_are_listed_at_once() -> None:
    spec = ModelSpec(name="basic-cnn", stem="imagenet", width=2.0, pretrained=True)
    with pytest.raises(RecipeError) as caught:
        build_network(spec, 10, image_size=16)
    for part in ("model.stem", "model.width", "model.pretrained", "needs 20"):
        assert part in str(caught.value)


def test_build_untrained_reads_no_file() -> None:
    spec = ModelSpec(name="basic-cnn", weights="/nowhere.safetensors")
    assert build_untrained(spec, 10)(images()).shape == (2, 10)


def test_initialise_leaves_other_networks_alone() -> None:
    model = make("basic-cnn")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    initialise(model, images(8))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
