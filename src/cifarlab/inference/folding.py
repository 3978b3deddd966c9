"""Batch norm folded into the convolution before it, for networks that only answer.

In evaluation mode batch norm is x * scale + shift with constants for each channel, and a convolution is linear: the
scale goes into its filters and the shift into its bias (Jacob et al., arXiv 1712.05877, 2017, section 3.2). A max pool
between the two may stay where it is for scales above 0, because the largest value is still the largest then.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

from torch import Tensor, nn

from cifarlab.models.googlenet import GoogLeNet
from cifarlab.models.resnet import BasicBlock, Bottleneck, ResNet
from cifarlab.models.simple_cnn import SimpleCNN
from cifarlab.models.speednet import Group, ResidualGroup, SpeedNet

NETWORKS = (GoogLeNet, ResNet, SimpleCNN, SpeedNet)
"""Whose layers are known here: in another network, what a convolution puts out may have a second reader."""

Pair = tuple[str, str, bool]
"""Names of a convolution and of the norm that reads it, and whether a max pool stands between them."""

PAIRS: dict[type[nn.Module], tuple[Pair, ...]] = {
    ResNet: (("conv1", "bn1", False),),
    BasicBlock: (("conv1", "bn1", False), ("conv2", "bn2", False)),
    Bottleneck: (("conv1", "bn1", False), ("conv2", "bn2", False), ("conv3", "bn3", False)),
    Group: (("conv1", "norm1", True), ("conv2", "norm2", False)),
    ResidualGroup: (("conv1", "norm1", True), ("conv2", "norm2", False), ("conv3", "norm3", False)),
}
"""By the module that calls both; in a Sequential the order says it."""


def fold(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that gives the same logits, up to rounding, without most of its norms.

    The model itself, when it is not one of NETWORKS or has nothing to fold. The copy shares no weight with the model
    and is for answering alone: where a norm was, a layer hands its input on.
    """
    if not isinstance(model, NETWORKS) or not any(_pairs(module) for module in model.modules()):
        return model
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(folded.modules()):
        for conv, norm, pooled in _pairs(module):
            _fold_pair(module, conv, norm, pooled=pooled)
    return folded


def _pairs(module: nn.Module) -> tuple[Pair, ...]:
    if type(module) is nn.Sequential:
        return tuple(_neighbours(module))
    return PAIRS.get(type(module), ())


def _neighbours(layers: nn.Sequential) -> Iterator[Pair]:
    named = list(layers.named_children())
    for (first, conv), (second, norm) in itertools.pairwise(named):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield first, second, False


def _fold_pair(parent: nn.Module, conv_name: str, norm_name: str, *, pooled: bool) -> None:
    conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return
    scale, shift = _scale_and_shift(norm)
    if pooled and not bool((scale > 0).all()):
        return
    bias = shift if conv.bias is None else shift + scale * conv.bias.double()
    conv.weight = _frozen(conv.weight.double() * scale.view(-1, 1, 1, 1), conv.weight)
    conv.bias = _frozen(bias, conv.weight)
    setattr(parent, norm_name, nn.Identity())


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Per channel in float64, so that folding rounds once."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def _frozen(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(like.dtype), requires_grad=False)
