from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cifarlab.inference.folding import NETWORKS, fold
from cifarlab.models.registry import MODELS, build_network
from cifarlab.models.speednet import Group
from cifarlab.recipe.schema import ModelSpec

FOLDED = ["simple-cnn-bn", "googlenet", "resnet18", "resnet50", "speednet", "speednet-plus"]


def built(name: str) -> nn.Module:
    """A small network whose norms have seen other statistics in every channel."""
    torch.manual_seed(0)
    model = build_network(ModelSpec(name=name, width=0.125 if MODELS[name].scalable else 1), 5, 20)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_()
            if isinstance(module.weight, nn.Parameter):
                module.weight.data.normal_(1, 0.5)
    return model


def images() -> Tensor:
    return torch.randn(7, 3, 20, 20, generator=torch.Generator().manual_seed(1))


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    return model.eval()(images())


@pytest.mark.parametrize("name", FOLDED)
def test_logits_are_the_same_up_to_rounding_and_no_norm_is_left(name: str) -> None:
    model = built(name)
    folded = fold(model)
    wanted = logits(model)
    assert norms(model) and not norms(folded)
    torch.testing.assert_close(logits(folded), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", FOLDED)
def test_the_model_stays_as_it_was(name: str) -> None:
    model = built(name).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fold(model)
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_network_with_norms_is_known(name: str) -> None:
    model = built(name)
    assert bool(norms(model)) == (fold(model) is not model)


def test_a_network_from_elsewhere_is_handed_back() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert fold(model) is model and not isinstance(model, NETWORKS)


@pytest.mark.parametrize("scale", [-1.0, 0.0])
def test_a_norm_behind_a_max_pool_stays_where_its_scale_is_not_above_0(scale: float) -> None:
    model = built("speednet")
    group = model.group2
    assert isinstance(group, Group)
    group.norm1.weight[3] = scale
    folded = fold(model)
    assert norms(folded) == [folded.group2.norm1]
    torch.testing.assert_close(logits(folded), logits(model), rtol=1e-4, atol=1e-4)


def test_layers_keep_their_memory_format() -> None:
    folded = fold(built("speednet").to(memory_format=torch.channels_last))
    assert folded.group1.conv2.weight.is_contiguous(memory_format=torch.channels_last)
