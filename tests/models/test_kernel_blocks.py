"""Basic blocks as one operation against the same blocks in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cifarlab.models.kernel_blocks import basic_blocks, parameters
from cifarlab.models.kernel_layers import KernelResNet, use_kernels
from cifarlab.models.resnet import BasicBlock, resnet
from cifarlab.recipe import ModelSpec

pytestmark = pytest.mark.usefixtures("bf16_kernels")

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).bfloat16().contiguous(memory_format=torch.channels_last)


def a_block(channels_in: int, planes: int, stride: int) -> BasicBlock:
    """With filters that bf16 holds exactly, and norms that do more than norm."""
    block = BasicBlock(channels_in, planes, stride).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for name, weight in block.named_parameters():
            scale = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.3
            weight.copy_(torch.randn(weight.shape, generator=GENERATOR).mul_(scale).bfloat16())
            if name in ("bn1.weight", "bn2.weight", "downsample.1.weight"):
                weight.add_(1)
    return block


@pytest.mark.parametrize(
    ("size", "blocks"),
    [
        ((8, 8), [(32, 32, 1)]),
        ((8, 8), [(32, 64, 2)]),
        ((8, 8), [(64, 64, 1), (64, 64, 1)]),
        ((9, 7), [(32, 32, 1), (32, 64, 2), (64, 64, 1)]),
        ((4, 4), [(32, 64, 2), (64, 96, 2), (96, 96, 1)]),
        ((12, 12), [(16, 32, 2), (32, 64, 1)]),
    ],
)
def test_output_gradients_and_statistics_are_those_of_the_blocks(
    size: tuple[int, int], blocks: list[tuple[int, int, int]]
) -> None:
    made = [a_block(*block) for block in blocks]
    ours = nn.Sequential(*made)
    x = draw(24, blocks[0][0], *size).requires_grad_()
    exact_x, theirs = x.detach().double().requires_grad_(), copy.deepcopy(ours).double()
    rounded_x, rounded = x.detach().requires_grad_(), copy.deepcopy(ours)
    found = basic_blocks(x, made)
    exact = theirs(exact_x)
    with torch.autocast("cpu", torch.bfloat16):
        other = rounded(rounded_x)
    upstream = draw(*found.shape)
    leaves = [[values, *module.parameters()] for values, module in ((x, ours), (exact_x, theirs), (rounded_x, rounded))]
    gradients, exacts, others = (
        torch.autograd.grad(output, of, upstream.to(output.dtype))
        for output, of in zip((found, exact, other), leaves, strict=True)
    )
    for one, right, torchs in zip((found, *gradients), (exact, *exacts), (other, *others), strict=True):
        assert one.shape == right.shape
        # where roundings differ ReLU lets other values pass, in torch's bf16 as well, whose convolutions round less
        assert (one - right).norm() <= 4 * (torchs - right).norm() + 0.01 * right.norm()
    for name, value in ours.state_dict().items():
        assert torch.allclose(value.double(), theirs.state_dict()[name].double(), rtol=0.02, atol=5e-3)


def test_parameters_are_those_of_the_block() -> None:
    for block in (a_block(32, 32, 1), a_block(32, 64, 2)):
        assert {id(weight) for weight in parameters(block)} == {id(weight) for weight in block.parameters()}


def test_gradients_cannot_be_asked_for_twice() -> None:
    x, blocks = draw(4, 32, 8, 8).requires_grad_(), [a_block(32, 32, 1)]
    output = basic_blocks(x, blocks).float().sum()
    torch.autograd.grad(output, x, retain_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        torch.autograd.grad(output, x)


def a_resnet() -> KernelResNet:
    model = resnet(18)(ModelSpec(name="resnet18", width=0.5), 4, 32).to(memory_format=torch.channels_last)
    use_kernels(model)
    assert isinstance(model, KernelResNet)
    return model


def ends_in_blocks(model: KernelResNet, num: int = 4) -> bool:
    images = draw(num, 3, 16, 16).float()
    with torch.autocast("cpu", torch.bfloat16):
        maps = model.last_maps(model.first_maps(images))
    return type(maps.grad_fn).__name__ == "BasicBlocksBackward"


def test_a_resnet_in_training_takes_them() -> None:
    assert ends_in_blocks(a_resnet())


def test_what_does_not_learn_goes_block_by_block() -> None:
    frozen, answering, forgetful = a_resnet(), a_resnet(), a_resnet()
    frozen.get_parameter("layer1.0.conv1.weight").requires_grad_(False)
    answering.eval()
    for module in forgetful.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    assert not any(map(ends_in_blocks, (frozen, answering, forgetful)))


def test_a_single_image_goes_block_by_block_and_a_single_pixel_is_an_error() -> None:
    assert not ends_in_blocks(a_resnet(), num=1)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="more than 1 value"):
        a_resnet()(draw(1, 3, 8, 8).float())
