"""Fold batch norms into the convolutions before them, for networks that only predict.

In evaluation mode batch norm is x · scale + shift with constants for each channel, and a convolution is linear, so the
scale goes into its filters and the shift into its bias (Jacob et al., arXiv 1712.05877, 2017, section 3.2).
"""

from __future__ import annotations

import copy
import itertools

from torch import Tensor, nn

from cifarlab.models.googlenet import GoogLeNet
from cifarlab.models.resnet import BasicBlock, Bottleneck, ResNet
from cifarlab.models.simple_cnn import SimpleCNN
from cifarlab.models.speednet import Group, ResidualGroup, SpeedNet

# Networks whose forward is known here. In another one, something else than the norm may read a convolution's output.
NETWORKS = (GoogLeNet, ResNet, SimpleCNN, SpeedNet)

Pair = tuple[str, str, bool]
"""The names of a convolution and of the norm that reads it, and whether there is a max pool between them."""

# By the class of the module that calls both; in a Sequential they are neighbours.
PAIRS: dict[type[nn.Module], tuple[Pair, ...]] = {
    ResNet: (("conv1", "bn1", False),),
    BasicBlock: (("conv1", "bn1", False), ("conv2", "bn2", False)),
    Bottleneck: (("conv1", "bn1", False), ("conv2", "bn2", False), ("conv3", "bn3", False)),
    Group: (("conv1", "norm1", True), ("conv2", "norm2", False)),
    ResidualGroup: (("conv1", "norm1", True), ("conv2", "norm2", False), ("conv3", "norm3", False)),
}


def fold(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode with the same logits, up to rounding, but without most of its norms.

    The copy shares no weights with the model and can only predict: an identity replaces each folded norm. A model that
    is not one of NETWORKS, or has nothing to fold, is returned itself.
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
        named = itertools.pairwise(module.named_children())
        return tuple(
            (first, second, False)
            for (first, conv), (second, norm) in named
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        )
    # Exact types: a subclass may call its layers in another order.
    return PAIRS.get(type(module), ())


def _fold_pair(parent: nn.Module, conv_name: str, norm_name: str, *, pooled: bool) -> None:
    conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
        return
    scale, shift = _scale_and_shift(norm)
    # Max pooling commutes with an increasing function only; a negative scale would turn maxima into minima.
    if pooled and not bool((scale > 0).all()):
        return
    # norm(conv(x) + b) = scale · conv(x) + (shift + scale · b)
    bias = shift if conv.bias is None else shift + scale * conv.bias.double()
    conv.weight = _frozen(conv.weight.double() * scale.view(-1, 1, 1, 1), conv.weight)
    conv.bias = _frozen(bias, conv.weight)
    setattr(parent, norm_name, nn.Identity())


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The norm as x · scale + shift, each (C), in float64, so that folding rounds only once."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def _frozen(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(like.dtype), requires_grad=False)
