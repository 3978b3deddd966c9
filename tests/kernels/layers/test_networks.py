"""Networks with kernels against the same without."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from cifarlab.inference.folding import fold
from cifarlab.kernels.layers.networks import (
    KernelConv2d,
    KernelGroup,
    KernelPooledConv2d,
    KernelResidualGroup,
    use_kernels,
    use_predicting_kernels,
)
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec

pytestmark = pytest.mark.usefixtures("kernels")

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    GENERATOR.manual_seed(0)


def pair(name: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    """A network with kernels, and the same without."""
    torch.manual_seed(0)
    plain = build_network(ModelSpec(name=name, width=0.5), 4, 32).to(memory_format=torch.channels_last)
    ours = copy.deepcopy(plain)
    use_kernels(ours, dtype)
    return ours, plain


def outcome(model: nn.Module, images: Tensor, *, bf16: bool) -> Iterator[Tensor]:
    """The logits and the gradient of every parameter."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(images).float()
    yield logits.detach()
    weights = torch.linspace(-1, 1, logits.numel()).view(logits.shape)
    yield from torch.autograd.grad((logits * weights).sum(), tuple(model.parameters()))


def images(side: int = 32) -> Tensor:
    return torch.randn(6, 3, side, side, generator=GENERATOR).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["speednet", "speednet-plus", "resnet18"])
@pytest.mark.parametrize("side", [32, 16])
def test_training_is_nearly_as_exact_as_without(product_dtype: torch.dtype, name: str, side: int) -> None:
    bf16 = product_dtype == torch.bfloat16
    ours, plain = pair(name, product_dtype)
    distances = [0.0, 0.0]
    for _ in range(4):  # of a single batch, the distances differ by a factor of two
        batch = images(side)
        exact = list(outcome(copy.deepcopy(plain).double(), batch.double(), bf16=False))
        for place, model in enumerate((ours, plain)):
            found = outcome(copy.deepcopy(model), batch, bf16=bf16)
            distances[place] += sum(
                float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)
            )
    # conv3x3.py says why it is not 1; in float32 torch rounds a fifth as much, and its order differs
    assert distances[0] < (2 if bf16 else 6) * distances[1]


def test_speednet_gets_kernels_for_what_they_are_made_for() -> None:
    ours, plain = pair("speednet")
    kinds = {type(module) for module in ours.modules()}
    assert {KernelGroup, KernelConv2d, KernelPooledConv2d} < kinds
    assert type(pair("speednet-plus")[0].group1) is KernelResidualGroup
    assert list(ours.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("name", ["speednet", "speednet-plus", "resnet18", "simple-cnn"])
def test_predictions_are_the_same(name: str) -> None:
    torch.manual_seed(0)
    plain = build_network(ModelSpec(name=name), 4, 32).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(3):
            plain(images())
        folded = fold(plain.eval())
        ours = copy.deepcopy(folded).to(memory_format=torch.channels_last)
        use_predicting_kernels(ours)
        assert list(ours.state_dict()) == list(folded.state_dict())
        for side in (32, 17, 9) if name.startswith("speednet") else (32,):
            batch = images(side)
            assert torch.allclose(ours(batch), plain(batch), atol=1e-4)


def test_what_the_kernels_are_not_made_for_is_torchs() -> None:
    conv = nn.Conv2d(16, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    model = nn.Sequential(copy.deepcopy(conv))
    use_kernels(model, torch.float32)
    assert type(model[0]) is KernelConv2d
    batch = torch.randn(2, 16, 5, 5, generator=GENERATOR)
    assert torch.equal(model.double()(batch.double()), conv.double()(batch.double()))
    assert model(batch[:0].double()).shape == (0, 32, 5, 5)
