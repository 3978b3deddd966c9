"""A ResNet of basic blocks as one operation against the same layers in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cifarlab.kernels.layers.blocks import conv_norms
from cifarlab.kernels.layers.networks import KernelResNet, use_kernels
from cifarlab.kernels.layers.resnet import features
from cifarlab.models.resnet import BasicBlock, resnet
from cifarlab.recipe.schema import ModelSpec

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).bfloat16().contiguous(memory_format=torch.channels_last)


def in_type(dtype: torch.dtype) -> torch.autocast:
    """A context in which networks compute in this type."""
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)


def vary(module: nn.Module) -> None:
    """Filters that bf16 holds exactly, and norms that do more than norm."""
    with torch.no_grad():
        for weight in module.parameters():
            scale = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.3
            weight.copy_(torch.randn(weight.shape, generator=GENERATOR).mul_(scale).bfloat16())
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.add_(1)


def a_block(channels_in: int, planes: int, stride: int) -> BasicBlock:
    block = BasicBlock(channels_in, planes, stride).to(memory_format=torch.channels_last)
    vary(block)
    return block


def means(network: nn.Module, x: Tensor) -> Tensor:
    maps: Tensor = network(x)
    return maps.mean((2, 3))


def run(network: nn.Sequential, x: Tensor) -> Tensor:
    """As one operation."""
    return features(x, [conv_norms(block) for block in network if isinstance(block, BasicBlock)])


def compare(ours: nn.Sequential, x: Tensor, dtype: torch.dtype) -> None:
    """The features, the gradients and the statistics."""
    theirs, rounded = copy.deepcopy(ours).double(), copy.deepcopy(ours)
    x = x.to(dtype)
    inputs = [x.detach().requires_grad_(), x.detach().double().requires_grad_(), x.detach()]
    inputs[2].requires_grad_()
    found, exact = run(ours, inputs[0]), means(theirs, inputs[1])
    with in_type(dtype):
        other = means(rounded, inputs[2])
    upstream = torch.randn(found.shape, generator=GENERATOR).to(dtype)
    results = []
    for output, network, leaf in zip((found, exact, other), (ours, theirs, rounded), inputs, strict=True):
        leaves = [leaf, *network.parameters()]
        results.append([output, *torch.autograd.grad(output, leaves, upstream.to(output.dtype))])
    for one, right, torchs in zip(*results, strict=True):
        assert one.shape == right.shape
        # where roundings differ ReLU lets other values pass, in torch's bf16 as well, whose convolutions round less
        assert (one - right).norm() <= 4 * (torchs - right).norm() + 0.01 * right.norm()
    for name, value in ours.state_dict().items():
        assert torch.allclose(value.double(), theirs.state_dict()[name].double(), rtol=0.02, atol=5e-3)


@pytest.mark.parametrize(
    ("size", "blocks"),
    [
        ((8, 8), [(32, 32, 1)]),
        ((8, 8), [(32, 64, 2)]),
        ((8, 8), [(32, 64, 1)]),
        ((8, 8), [(64, 64, 1), (64, 64, 1)]),
        ((9, 7), [(32, 32, 1), (32, 64, 2), (64, 64, 1)]),
        ((4, 4), [(32, 64, 2), (64, 96, 2), (96, 96, 1)]),
        ((12, 12), [(32, 64, 2), (64, 96, 1)]),
    ],
)
def test_features_gradients_and_statistics_are_those_of_the_layers(
    product_dtype: torch.dtype, size: tuple[int, int], blocks: list[tuple[int, int, int]]
) -> None:
    compare(nn.Sequential(*(a_block(*block) for block in blocks)), draw(24, blocks[0][0], *size), product_dtype)


def test_layers_have_all_weights_of_a_block() -> None:
    for block in (a_block(32, 32, 1), a_block(32, 64, 2)):
        found = [weight for layer in conv_norms(block) for weight in layer.weights()]
        assert {id(weight) for weight in found} == {id(weight) for weight in block.parameters()}


def test_gradients_cannot_be_asked_for_twice() -> None:
    x = draw(4, 32, 8, 8).float().requires_grad_()
    output = run(nn.Sequential(a_block(32, 32, 1)), x).float().sum()
    torch.autograd.grad(output, x, retain_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        torch.autograd.grad(output, x)


def a_resnet() -> KernelResNet:
    model = resnet(18)(ModelSpec(name="resnet18", width=0.5), 4, 32).to(memory_format=torch.channels_last)
    use_kernels(model, torch.float32)
    assert isinstance(model, KernelResNet)
    return model


def operation(model: KernelResNet, images: Tensor) -> str:
    """That gave the features."""
    return type(model.features(images).grad_fn).__name__


def images(num: int = 4) -> Tensor:
    return draw(num, 3, 16, 16).float()


def takes(model: KernelResNet, num: int = 4) -> bool:
    return operation(model, images(num)) == "FeaturesBackward"


def test_a_resnet_in_training_takes_it_from_its_first_block_on() -> None:
    model = a_resnet()
    found = model.features(images()).grad_fn
    assert type(found).__name__ == "FeaturesBackward"
    assert {id(leaf.variable) for leaf, _ in found.next_functions if hasattr(leaf, "variable")} == {
        id(weight) for name, weight in model.named_parameters() if name.startswith("layer")
    }


def test_another_stem_or_images_that_need_a_gradient_are_torchs() -> None:
    large = resnet(18)(ModelSpec(name="resnet18", width=0.5, stem="imagenet"), 4, 32)
    large.to(memory_format=torch.channels_last)
    use_kernels(large, torch.float32)
    assert isinstance(large, KernelResNet)
    given = images().requires_grad_()
    assert operation(large, draw(4, 3, 64, 64).float()) == operation(a_resnet(), given) == "FeaturesBackward"
    model = a_resnet()
    model(given).sum().backward()
    assert given.grad is not None and given.grad.norm() > 0


def test_what_does_not_learn_goes_block_by_block() -> None:
    frozen, evaluated, forgetful = a_resnet(), a_resnet(), a_resnet()
    frozen.get_parameter("layer1.0.conv1.weight").requires_grad_(False)
    evaluated.eval()
    for module in forgetful.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    assert not any(map(takes, (frozen, evaluated, forgetful)))


def test_a_single_image_goes_block_by_block_and_a_single_pixel_is_an_error() -> None:
    assert not takes(a_resnet(), num=1)
    with pytest.raises(ValueError, match="more than 1 value"):
        a_resnet()(draw(1, 3, 8, 8).float())
