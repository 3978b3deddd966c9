from __future__ import annotations

import pytest
import torch
from torch import nn

from cifarlab.models.googlenet import GoogLeNet
from cifarlab.models.registry import build_network
from cifarlab.models.taps import capture
from cifarlab.recipe.schema import ModelSpec

# Szegedy et al., 2014, Table 1, column "output size"
CHANNELS = {
    "3a": 256,
    "3b": 480,
    "4a": 512,
    "4b": 512,
    "4c": 512,
    "4d": 528,
    "4e": 832,
    "5a": 832,
    "5b": 1024,
}


@pytest.mark.parametrize(("stem", "size", "sides"), [("cifar", 32, (32, 16, 8)), ("imagenet", 224, (28, 14, 7))])
def test_blocks_have_the_published_shapes(stem: str, size: int, sides: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = build_network(ModelSpec(name="googlenet", stem=stem), 10, size)
        with capture(model, ["stem", *(f"inception{block}" for block in CHANNELS)]) as outputs:
            model(torch.empty(1, 3, size, size))
    assert tuple(outputs["stem"].shape[1:]) == (192, sides[0], sides[0])
    for block, channels in CHANNELS.items():
        side = sides[int(block[0]) - 3]
        assert tuple(outputs[f"inception{block}"].shape[1:]) == (channels, side, side), block


@pytest.mark.parametrize(("size", "kernel"), [(32, 3), (95, 3), (96, 7), (224, 7)])
def test_the_image_size_chooses_the_stem(size: int, kernel: int) -> None:
    with torch.device("meta"):
        model = build_network(ModelSpec(name="googlenet"), 10, size)
    assert next(m for m in model.modules() if isinstance(m, nn.Conv2d)).kernel_size == (kernel, kernel)


def test_equals_torchvision_with_real_5x5_convolutions() -> None:
    """torchvision has 3×3 in the 5×5 branch, a 2×2 last pool and another eps; without these we agree."""
    torchvision = pytest.importorskip("torchvision")
    reference = torchvision.models.googlenet(num_classes=10, aux_logits=False, init_weights=False).eval()
    for module in reference.modules():
        if type(module).__name__ == "Inception":
            narrow = module.branch3[1].conv
            module.branch3[1].conv = nn.Conv2d(narrow.in_channels, narrow.out_channels, 5, padding=2, bias=False)
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
    reference.maxpool4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    model = GoogLeNet(10, "imagenet").eval()
    torch.manual_seed(0)
    for source, target in zip(_weighted(reference), _weighted(model), strict=True):
        target.load_state_dict(source.state_dict())
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(model(x), reference(x), rtol=1e-4, atol=1e-5)


def _weighted(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
